"""The metadata service for guests: a small HTTP/1.1 server on sockets that live in the domains' namespaces.

A guest is known by the network on whose device its request came in and by its source address, which anti-spoofing guarantees;
nothing in the request itself is believed.
"""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from http import HTTPStatus

from pileus.model.errors import NodeFailed

REQUEST_MAX = 8192
TIMEOUT = 10.0
PATIENCE = 1.0
CONNECTIONS_MAX = 200
SO_BINDTODEVICE = 25

Documents = Callable[[str], dict[str, str] | None]
"""Source address -> the guest's documents by path, or None when no guest has it."""


def listening_socket(address: str, device: str) -> socket.socket:
    """A socket on port 80 of the address that hears one device only; made in the namespace of the calling thread."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
        where = (address, 80, 0, socket.if_nametoindex(device)) if family == socket.AF_INET6 else (address, 80)
        _bind(listener, where)
        listener.listen(64)
    except OSError as failure:
        listener.close()
        raise NodeFailed(f"Can't serve metadata on {device}: {failure.strerror}.") from failure
    return listener


def _bind(listener: socket.socket, where: tuple[str | int, ...]) -> None:
    """A listener of before may have been closed a moment ago only: the event loop lets go of it in its next turn. An address that was just
    given to a device may take a moment to be there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            listener.bind(where)
            return
        except OSError as failure:
            if failure.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL) or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def lookup(documents: dict[str, str], path: str) -> str | None:
    """The document at a path, or the listing of a directory as EC2 and OpenStack give it; None when there is neither."""
    wanted = "/".join(part for part in path.split("?", 1)[0].split("/") if part)
    if wanted in documents:
        return documents[wanted]
    prefix = f"{wanted}/" if wanted else ""
    entries: dict[str, None] = {}
    for name in documents:
        if name.startswith(prefix):
            first, slash, _ = name[len(prefix) :].partition("/")
            entries[first + (slash if not _version_listing(wanted) else "")] = None
    return "\n".join(sorted(entry for entry in entries if f"{entry}/" not in entries)) if entries else None


def _version_listing(path: str) -> bool:
    """The root and /openstack list versions, without slashes."""
    return path in ("", "openstack")


def response(request: bytes, documents: dict[str, str] | None) -> bytes:
    """The whole answer to a request's head."""
    line = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(line) != 3 or not line[2].startswith("HTTP/1.") or not line[1].startswith("/"):
        return _encode(HTTPStatus.BAD_REQUEST, "Bad request")
    if line[0] not in ("GET", "HEAD"):
        return _encode(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here")
    body = lookup(documents, line[1]) if documents is not None else None
    if body is None:
        return _encode(HTTPStatus.NOT_FOUND, "Not found", head=line[0] == "HEAD")
    last = line[1].split("?", 1)[0].rsplit("/", 1)[-1]
    kind = "application/json" if last.endswith(".json") else "text/plain; charset=utf-8"
    return _encode(HTTPStatus.OK, body, kind, head=line[0] == "HEAD")


def _encode(status: HTTPStatus, body: str, kind: str = "text/plain; charset=utf-8", head: bool = False) -> bytes:
    content = body.encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}", "Server: metadata", f"Content-Type: {kind}", f"Content-Length: {len(content)}",
        "Connection: close",
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if head else content)


class MetadataListener:
    """One listening socket, and the connections made to it."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, listener: socket.socket) -> None:
        """Serve on the socket, which is ours from now on."""
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=REQUEST_MAX)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > CONNECTIONS_MAX:
                return
            async with asyncio.timeout(TIMEOUT):
                source = str(writer.get_extra_info("peername")[0]).split("%")[0]
                try:
                    request = await reader.readuntil(b"\r\n\r\n")
                except asyncio.LimitOverrunError:
                    writer.write(_encode(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request is too large"))
                else:
                    writer.write(response(request, self._documents(source)))
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            pass
        finally:
            self._open -= 1
            writer.close()
