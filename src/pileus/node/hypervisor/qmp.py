"""A guest's QMP session: connects to its socket, runs commands with a time limit, hands events on. A thin layer over qemu.qmp."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pileus.model.errors import NodeFailed

OnEvent = Callable[[str, Mapping[str, Any]], None]

COMMAND_SECONDS = 10.0


def unix_socket(path: Path) -> socket.socket:
    """A connected stream socket. Goes by the directory's descriptor, as a socket's path may have 107 bytes at most."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        except OSError:
            connection.close()
            raise
        return connection
    finally:
        os.close(directory)


def listening_socket(path: Path) -> socket.socket:
    """A new listening socket at `path` that only its owner may connect to; what was there is removed."""
    path.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before it has a name, as the name gets the socket's mode
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        listener.listen(8)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(directory)
    return listener


class Qmp:
    """One session. `connect` makes it; `close` may be called at any time."""

    def __init__(self, guest_id: str, on_event: OnEvent) -> None:
        from qemu.qmp import QMPClient  # imported late: an agent of simulated hosts needs none of it

        logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # a QEMU that ends is no error of ours
        self._client = QMPClient(guest_id)
        self._on_event = on_event
        self._listener: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None  # ours, as an event loop's transport may not pass descriptors

    async def connect(self, path: Path, seconds: float) -> None:
        """Raises NodeFailed when QEMU does not answer in time."""
        from qemu.qmp import QMPError

        try:
            connection = unix_socket(path)
            self._socket = connection.dup()
            await asyncio.wait_for(self._client.connect(connection), seconds)
        except (OSError, QMPError, TimeoutError) as error:
            await self.close()
            detail = str(error) or type(error).__name__
            raise NodeFailed("The guest's QEMU does not answer.", detail=detail) from error
        self._listener = asyncio.create_task(self._listen())

    async def execute(self, command: str, seconds: float = COMMAND_SECONDS, **arguments: Any) -> Any:
        """A command's return value. Raises NodeFailed with QEMU's words in `detail`. Underscores in names stand for hyphens."""
        from qemu.qmp import QMPError

        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            return await asyncio.wait_for(self._client.execute(command, named), seconds)
        except (QMPError, TimeoutError) as error:
            detail = f"{command}: {str(error) or type(error).__name__}"
            raise NodeFailed("The guest's QEMU refused a command.", detail=detail) from error

    async def give(self, descriptor: int, name: str) -> None:
        """Hand QEMU a copy of an open descriptor; commands then call it by this name."""
        assert self._socket
        socket.send_fds(self._socket, [b" "], [descriptor])
        await self.execute("getfd", fdname=name)

    async def close(self) -> None:
        """End the session; the guest goes on."""
        if self._socket:
            self._socket.close()
            self._socket = None
        if self._listener:
            self._listener.cancel()
            self._listener = None
        try:
            await asyncio.wait_for(self._client.disconnect(), 2.0)
        except Exception:
            logging.getLogger(__name__).debug("QMP session ended with an error", exc_info=True)

    async def _listen(self) -> None:
        async for event in self._client.events:
            data = event.get("data")
            self._on_event(str(event["event"]), data if isinstance(data, dict) else {})
