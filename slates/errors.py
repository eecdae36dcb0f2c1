"""Errors of the slates room."""


class SlatesError(Exception):
    """Something about what lies in Redis prevents the work; the message says what to do."""


class CodecError(SlatesError):
    """A key or a value in Redis does not have the documented form."""


class LockHeldError(SlatesError):
    """Another batch holds the lock. `status` : for the process, as sysexits.h has it for what is to be tried again."""

    status = 75


class StaleRunError(SlatesError):
    """A run lost its lock, or a newer run has published, so that this one may not."""


class VerificationError(SlatesError):
    """What was read back from Redis is not what was written."""


class NoGenerationError(SlatesError):
    """There is no such generation."""


class NoRoomError(SlatesError):
    """Redis lacks the memory for a run, or would evict what it writes."""


class ArchiveError(SlatesError):
    """A file is no exported generation, or a damaged one."""
