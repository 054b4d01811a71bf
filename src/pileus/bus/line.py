"""Typed messages of bounded size over a socket between two processes of a cloud. Each has its length, then its bytes.

An end believes nothing of the other: what is longer than agreed, or is none of the messages that it knows, ends the connection.
"""

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from pileus.ending import end
from pileus.model.base import Model
from pileus.model.errors import Invalid, Unavailable

log = logging.getLogger(__name__)

LARGEST = 32 << 20
"""Bytes of a message."""
LATE = "The other process of this cloud does not run."
Take = Callable[[Any], Awaitable[None]]
Reply = TypeVar("Reply")


class Ready(Model, frozen=True, kw_only=True, tag="ready", forbid_unknown_fields=True):
    """From the managers: they are at work, and the API, where there is one, answers."""


encode = msgspec.msgpack.Encoder().encode


class Line:
    """One end of the pair: sends messages, hands those that come to `take`, and says once when it is over."""

    def __init__(self, end: socket.socket, decoder: "msgspec.msgpack.Decoder[Any]", take: Take, largest: int = LARGEST) -> None:
        self._socket = end
        self._largest = largest
        self._decoder = decoder
        self._take = take
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.over = asyncio.Event()

    async def open(self) -> None:
        """Begin to read."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._socket)
        self._reading = asyncio.create_task(self._read(reader))

    async def close(self) -> None:
        """Let go of the socket."""
        await end([self._reading])
        if self._writer is not None:
            self._writer.close()
        self.over.set()

    @property
    def waiting(self) -> int:
        """Bytes that the other side has not taken yet, beyond what the socket holds."""
        return 0 if self._writer is None else self._writer.transport.get_write_buffer_size()

    def post(self, message: Model) -> None:
        """Send without waiting; Unavailable when nobody is there, Invalid when it is too large."""
        data = encode(message)
        if len(data) > self._largest:
            raise Invalid(f"A message to the other process has {len(data)} bytes, more than {self._largest}.")
        if self._writer is None or self.over.is_set() or self._writer.is_closing():
            raise Unavailable(LATE)
        self._writer.writelines((len(data).to_bytes(4), data))

    async def send(self, message: Model) -> None:
        """Send; waits while the other side does not read."""
        try:
            async with self._turn:  # of many that wait, one message at a time beyond what the socket takes
                self.post(message)
                assert self._writer is not None
                await self._writer.drain()
        except OSError as error:
            raise Unavailable(LATE) from error

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4))
                if size > self._largest:
                    log.error("a message of %d bytes is larger than any of ours; the connection between the processes ends", size)
                    return
                data = await reader.readexactly(size)
                try:
                    message = self._decoder.decode(data)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    log.error("a message is none of ours; the connection between the processes ends: %s", error)
                    return
                await self._take(message)
        except (OSError, asyncio.IncompleteReadError):
            return  # the other process has ended
        except Invalid as error:
            log.error("%s; the connection between the processes ends", error.message)
        finally:
            self.over.set()
            if self._writer is not None:
                self._writer.close()


class Managers(Generic[Reply]):
    """The unprivileged end, which asks by number. A subclass says what is done with messages (`_take`), and what else ends with it."""

    def __init__(self, half: socket.socket, decoder: "msgspec.msgpack.Decoder[Any]", largest: int = LARGEST) -> None:
        self._line = Line(half, decoder, self._take, largest)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._watching: asyncio.Task[None] | None = None

    @property
    def over(self) -> asyncio.Event:
        """Set when the other process is gone."""
        return self._line.over

    async def open(self) -> None:
        """Begin."""
        await self._line.open()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """End; who waits is told so."""
        await self._line.close()
        await end([self._watching])
        self._lost()

    def ready(self) -> None:
        """Tell the other process that all is at work, and the API, where there is one, answers."""
        self._line.post(Ready())

    async def _ask(self, message: Callable[[int], Model], timeout: float | None = None) -> Reply:
        """What is answered to the message that was made with its number; TimeoutError after `timeout` seconds."""
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._line.send(message(number))
            return await asyncio.wait_for(waiting, timeout)
        finally:
            del self._waiting[number]

    def _settle(self, number: int, reply: Reply) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    async def _take(self, message: Any) -> None:
        raise NotImplementedError

    async def _watch(self) -> None:
        await self._line.over.wait()
        self._lost()

    def _lost(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unavailable(LATE))
