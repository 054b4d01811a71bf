"""Between managers without privileges and root's process, where hosts are reached by another bus: who asks that a host be fenced.

`Supervised` is the unprivileged end, `Supervisor` root's. All that can be asked for is a host's name: how it is fenced is root's to know.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pileus.bus.line import Line, Managers, Ready
from pileus.ending import end
from pileus.model.base import Model
from pileus.model.errors import PileusError, Unavailable

log = logging.getLogger(__name__)

LARGEST = 8 << 10
"""Bytes of a message."""
AT_ONCE = 16
"""Hosts that are being fenced; who asks for more waits."""
LONGEST = 500
"""Characters of what is told of it."""
Fencer = Callable[[str, str], Awaitable[str]]
"""A host's name and address -> what was done. Unavailable or Invalid, with the reason, when it is not certain that it runs nothing."""


class Ask(Model, frozen=True, kw_only=True, tag="ask", forbid_unknown_fields=True):
    """Make this host run nothing."""

    number: int
    host: str
    address: str


class Fenced(Model, frozen=True, kw_only=True, tag="fenced", forbid_unknown_fields=True):
    """What came of the request of that number: what was done, or why it is not certain."""

    number: int
    said: str = ""
    error: str = ""


_to_root: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Ask | Ready)
_to_managers: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Fenced)


class Supervised(Managers[Fenced]):
    """The managers' end. `half`: our half of the pair; connected in `open`."""

    def __init__(self, half: socket.socket) -> None:
        super().__init__(half, _to_managers, LARGEST)

    async def fence(self, host: str, address: str) -> str:
        """What root did so that the host runs nothing; Unavailable, with the reason, when that is not certain."""
        found = await self._ask(lambda number: Ask(number=number, host=host, address=address))
        if found.error:
            raise Unavailable(found.error)
        return found.said

    async def _take(self, message: Fenced) -> None:
        self._settle(message.number, message)


class Supervisor:
    """Root's end. `fence` checks what it is given; `ready` is called when the managers say that they are at work."""

    def __init__(self, half: socket.socket, fence: Fencer, ready: Callable[[], None] = lambda: None) -> None:
        self._line = Line(half, _to_root, self._take, LARGEST)
        self._fence = fence
        self._ready = ready
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def over(self) -> asyncio.Event:
        """Set when the managers are gone, or have said what no manager says."""
        return self._line.over

    async def open(self) -> None:
        """Begin to listen."""
        await self._line.open()

    async def close(self) -> None:
        """End, and what is under way with it."""
        await self._line.close()
        await end(list(self._tasks))

    async def _take(self, message: Ask | Ready) -> None:
        match message:
            case Ask():
                await self._places.acquire()  # further ones wait in the socket
                task = asyncio.create_task(self._answer(message))
                self._tasks.add(task)
                task.add_done_callback(self._done)
            case Ready():
                self._ready()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._places.release()
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.info("what came of a fencing is told to nobody, it will be asked for again: %s", task.exception())

    async def _answer(self, asked: Ask) -> None:
        try:
            said = Fenced(number=asked.number, said=(await self._fence(asked.host, asked.address))[:LONGEST])
        except PileusError as error:
            said = Fenced(number=asked.number, error=error.message[:LONGEST])
        await self._line.send(said)
