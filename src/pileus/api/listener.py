"""The HTTP listener's protocol: uvicorn's, with bounds on what a client may send before anything is known of it.

uvicorn keeps a request's line and headers however long they are and however slowly they come: some hundred megabytes of them, from
anybody who can connect, and the process is gone.
"""

import asyncio
import fcntl
import resource
import sys
import termios
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD = 128 << 10
"""Bytes of a request's line and headers; tokens and long queries have room."""
HEAD_SECONDS = 30.0
"""For which a client may take to send them."""
DRAIN_SECONDS = 60.0
"""For which what is left of a body is read and dropped once its request is answered, so that the client gets to read the answer."""
READ_SECONDS = 120.0
"""For which a client may take nothing of an answer that waits for it, or little: it holds the answer in memory."""
LEAST_READ = 256
"""Bytes a second, on average."""
MOST_CONNECTIONS = max(100, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536) * 3 // 4)
"""At a time. Descriptors are left for the database, images and the bus, so that who is let in is answered."""
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = True
        self._in_body = False
        self._head = 0
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Someone has connected, and should say what it wants."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.write(BUSY)
            transport.close()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._unwatch()
        self._taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """More of an answer waits than should."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Most of it has been taken."""
        self._taken()
        super().resume_writing()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0
        self._watch()

    def on_headers_complete(self) -> None:
        """What follows is the body, which its reader bounds."""
        self._in_head, self._in_body = False, True
        self._unwatch()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there."""
        self._in_body = False
        super().on_message_complete()
        self._unwatch()
        # Answered before its end: uvicorn waits for the next request without a limit then. A WebSocket's request has no cycle.
        if self.cycle is not None and self.cycle.response_complete:
            self._in_head, self._head = True, 0
            self._watch()

    def on_response_complete(self) -> None:
        """The answer is on its way; a body that nobody wants any more must not hold the connection."""
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self._watch(DRAIN_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > LONGEST_HEAD and not self.transport.is_closing():
                self.transport.write(TOO_LARGE)
                self.transport.close()

    def _watch(self, seconds: float | None = None) -> None:
        self._unwatch()
        self._late = self.loop.call_later(HEAD_SECONDS if seconds is None else seconds, self._give_up)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        if (self._in_head or self._in_body) and not self.transport.is_closing():
            self.transport.close()

    def _wait_for_reader(self) -> None:
        self._taken()
        self._unread = self.loop.call_later(READ_SECONDS, self._look_at_reader, self._untaken())

    def _taken(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _look_at_reader(self, before: int) -> None:
        if before - self._untaken() < LEAST_READ * READ_SECONDS:
            self.transport.abort()
        else:
            self._wait_for_reader()

    def _untaken(self) -> int:
        """Bytes that wait here and in the kernel, which takes them from here in large pieces, for the client to have them."""
        waiting = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return self.transport.get_write_buffer_size() + int.from_bytes(waiting, sys.byteorder)
