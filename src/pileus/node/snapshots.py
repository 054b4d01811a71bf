"""Snapshots of a host whose files the managers don't see: the copy is made in a directory of ours, sent to the cloud, and removed."""

import asyncio
import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from pileus.model.errors import NodeFailed
from pileus.model.messages import Failed, NodeReply, NodeRequest, Snapshot, SnapshotDone

BLOCK = 1 << 20
TIMEOUT = 120.0
"""Seconds for which the cloud may say nothing; it checks what it has got before it answers."""
PATIENCE = 300.0
PAUSE = 2.0
KEPT = 86400.0
"""Seconds for which a copy waits for who asked for it, when the agent has died meanwhile."""
LATER = (409, 500, 502, 503, 504)
"""Answers after which it is tried again; 409: the cloud has not seen the end of an earlier attempt."""


class SnapshotSender:
    """Sends from `directory` to the cloud whose API is at `api`."""

    def __init__(self, directory: Path, api: str) -> None:
        self.directory = directory
        self.api = urlsplit(api)

    def sweep(self) -> None:
        """Remove copies that nobody has come back for."""
        for file in self.directory.glob("*.qcow2*"):
            if time.time() - file.stat().st_mtime > KEPT:
                file.unlink(missing_ok=True)

    def localize(self, request: NodeRequest) -> NodeRequest:
        """The request with a path of this host."""
        if not isinstance(request, Snapshot) or not request.upload:
            return request
        return msgspec.structs.replace(request, destination=str(self.directory / Path(request.destination).name))

    async def deliver(self, request: NodeRequest, reply: NodeReply) -> NodeReply:
        """The reply to `request`, once the copy is at the cloud."""
        if not isinstance(request, Snapshot) or not request.upload or not isinstance(reply, SnapshotDone):
            return reply
        path, stop = Path(reply.path), threading.Event()
        try:
            await asyncio.to_thread(self._send, path, request.upload, stop)
        except NodeFailed as failure:
            path.unlink(missing_ok=True)
            return Failed(reason=failure.message, detail=str(failure.data.get("detail", "")), kind="NodeFailed")
        finally:
            stop.set()
        path.unlink(missing_ok=True)
        return msgspec.structs.replace(reply, path=request.destination)

    def _send(self, path: Path, address: str, stop: threading.Event) -> None:
        """Blocks. While the cloud is not reached it is tried again, for some minutes."""
        deadline = time.monotonic() + PATIENCE
        while not stop.is_set():
            status, said = self._attempt(path, address, stop)
            if 200 <= status < 300:
                return
            if status and status not in LATER:
                raise NodeFailed(f"The snapshot was not taken by the cloud: it answered {status}.", detail=said)
            if time.monotonic() > deadline:
                raise NodeFailed("The snapshot could not be sent to the cloud.", detail=said)
            stop.wait(PAUSE)

    def _attempt(self, path: Path, address: str, stop: threading.Event) -> tuple[int, str]:
        """(status, what was said); status 0: there was no answer."""
        host, timeout = self.api.netloc, TIMEOUT
        if self.api.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, timeout=timeout, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(host, timeout=timeout)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
        try:
            try:
                connection.request("PUT", self.api.path + address, _blocks(path, stop), headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before the end of it: the answer says why
            answer = connection.getresponse()
            return answer.status, answer.read(2000).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error) or type(error).__name__
        finally:
            connection.close()


def _blocks(path: Path, stop: threading.Event) -> Iterator[bytes]:
    with path.open("rb") as file:
        while not stop.is_set() and (block := file.read(BLOCK)):
            yield block
