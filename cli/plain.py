"""What a terminal would obey instead of showing: escape codes in ids, texts and names that came from outside."""

import logging

_INVISIBLE = (
    *range(0x20),
    *range(0x7F, 0xA0),
    *(0x200E, 0x200F, 0x2028, 0x2029),  # marks of direction, ends of lines
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),  # half a character, which cannot be written
)
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _INVISIBLE}
_SHOWN_IN_LINES = {code: shown for code, shown in _SHOWN.items() if chr(code) not in "\n\t"}


def plain(text: str) -> str:
    r"""Return a text in one line, with what a terminal would obey written as \x1b."""
    return text.translate(_SHOWN)


def plain_lines(text: str) -> str:
    """Do the same, but leave its lines as they are."""
    return text.translate(_SHOWN_IN_LINES)


class PlainFormatter(logging.Formatter):
    """Writes the message of a record, which may quote a database or Redis."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text."""
        return plain_lines(super().format(record))
