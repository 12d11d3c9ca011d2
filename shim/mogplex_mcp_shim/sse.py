"""Server-sent events, read as they come (HTML standard, 9.2.6)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENT_LIMIT = 128 * 2**20
"""Octets of one event beyond which the stream is given up."""


class Event:
    """One event.

    Attributes:
        data: Its lines of data, joined with line breaks.
        id: The last event id so far; None when there was none.
        retry: Milliseconds, when this event set them.
    """

    __slots__ = ("data", "id", "name", "retry")

    def __init__(self, name: str, data: bytes, last_id: str | None, retry: int | None) -> None:
        self.name = name
        self.data = data
        self.id = last_id
        self.retry = retry


def events(read: Callable[[], bytes]) -> Iterator[Event]:
    """The events of a stream, those too that carry only an id or a retry time.

    Args:
        read: Gives the next piece of the stream; empty at its end.

    Raises:
        ValueError: An event is too large.
    """
    data: list[bytes] = []
    last_id: str | None = None
    name, retry, has_id = "", None, False
    for line in _lines(read):
        if not line:
            if data or has_id or retry is not None:
                yield Event(name, b"\n".join(data), last_id, retry)
            name, data, retry, has_id = "", [], None, False
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"id" and b"\0" not in value:
            last_id = value.decode("utf-8", "replace")
            has_id = True
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"retry" and value.isdigit():
            retry = int(value[:9])


def _lines(read: Callable[[], bytes]) -> Iterator[bytes]:
    """The lines of a stream; what stands after the last line's end is no line."""
    pieces: list[bytes] = []
    size = 0
    first = True
    after_cr = False
    while piece := read():
        if first:
            piece = piece.removeprefix(b"\xef\xbb\xbf")
            first = False
        if after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            after_cr = False
        if b"\r" in piece:
            after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif piece:
            after_cr = False
        head, *others = piece.split(b"\n")
        pieces.append(head)
        size += len(head)
        if size > EVENT_LIMIT:
            raise ValueError("the server sent an event that is too large")
        if others:
            yield b"".join(pieces)
            yield from others[:-1]
            pieces = [others[-1]]
            size = len(others[-1])
