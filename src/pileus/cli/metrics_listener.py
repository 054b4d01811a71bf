"""Answers GET /metrics on an address of its own: HTTP/1.1 for a Prometheus server, one request a connection, nothing else."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable

from pileus.core.metrics import CONTENT_TYPE

log = logging.getLogger(__name__)
LONGEST_HEAD = 16 << 10
PATIENCE = 10.0
"""Seconds for which a client may take to ask, and to take its answer."""
AT_ONCE = 8


class MetricsListener:
    """`render` gives the text; it is asked by one client at a time."""

    def __init__(self, listener: socket.socket, render: Callable[[], Awaitable[str]]) -> None:
        self._listener = listener
        self._render = render
        self._turn = asyncio.Lock()
        self._clients = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Answer from now on."""
        self._server = await asyncio.start_server(self._serve, sock=self._listener, limit=LONGEST_HEAD)

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients <= AT_ONCE:
                async with asyncio.timeout(PATIENCE):
                    await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that is slow, gone or no HTTP client gets nothing
        except Exception:
            log.exception("the metrics could not be given")
        finally:
            self._clients -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            status, text = "404 Not Found", "The metrics are at /metrics.\n"
        elif method not in (b"GET", b"HEAD"):
            status, text = "405 Method Not Allowed", "GET /metrics\n"
        else:
            async with self._turn:
                status, text = "200 OK", await self._render()
        body = text.encode()
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(body)}", "Connection: close"]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == b"HEAD" else body))
        await writer.drain()
