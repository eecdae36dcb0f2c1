"""Commands as the bytes that Redis reads (RESP): for what is written in bulk, where a client's own way is too slow.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""


def bulk(part: bytes) -> bytes:
    """Write one argument of a command."""
    return b"$%d\r\n%b\r\n" % (len(part), part)


def command(*parts: bytes) -> bytes:
    """Write one command."""
    return b"*%d\r\n%b" % (len(parts), b"".join(map(bulk, parts)))


def read_commands(stream: bytes) -> list[list[bytes]]:
    """Read commands back, each as its arguments."""
    commands, at = [], 0
    while at < len(stream):
        n_parts, at = _number(stream, at)
        parts = []
        for _ in range(n_parts):
            length, at = _number(stream, at)
            parts.append(stream[at : at + length])
            at += length + 2
        commands.append(parts)
    return commands


def _number(stream: bytes, at: int) -> tuple[int, int]:
    end = stream.index(b"\r\n", at)
    return int(stream[at + 1 : end]), end + 2
