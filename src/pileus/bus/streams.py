"""Streams of bytes: over a Unix socket of this machine, or between two processes by messages of the bus.

Over the bus each side may have WINDOW bytes under way that the other's reader has not taken yet, so that who reads slowly holds back
who writes, and nothing gathers in between. Data carries its place in the stream: a message that the bus dropped ends the stream.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Protocol

from pileus.model.errors import PileusError

WINDOW = 256 << 10
CHUNK = 32 << 10
SIGN_OF_LIFE = 2.0
SILENCE = 10.0
"""Seconds without a word from the other side after which it is given up."""
PATIENCE = 2.0
"""Seconds for which the last bytes wait for who does not read, once the stream is over."""
DATA, END, TAKEN, CLOSED = b"d", b"e", b"t", b"c"
"""First byte of a message: bytes with their place; no more bytes come; how many were read so far (also a sign of life); it is over."""
CLOSED_BY_OTHER = "The other side has closed the stream."
Publish = Callable[[bytes], Awaitable[None]]


class ByteStream(Protocol):
    """Bytes both ways. What can't go on is an OSError."""

    async def read(self, limit: int) -> bytes:
        """At most `limit` bytes, once there are some; none at the end of the other side's."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; returns when there is room for more."""
        ...

    async def end(self) -> None:
        """Nothing more is written; the other way goes on."""
        ...

    async def close(self) -> None:
        """Let go of it, both ways."""
        ...


class SocketStream:
    """A stream over a Unix socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, limit: int) -> bytes:
        """At most `limit` bytes."""
        return await self._reader.read(limit)

    async def write(self, data: bytes) -> None:
        """Send."""
        self._writer.write(data)
        await self._writer.drain()

    async def end(self) -> None:
        """Nothing more is written."""
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def close(self) -> None:
        """Close the socket; what the other side does not read soon is dropped."""
        self._writer.close()
        try:
            await asyncio.wait_for(self._writer.wait_closed(), PATIENCE)
        except TimeoutError:
            self._writer.transport.abort()
        except OSError:
            return


async def to_socket(path: str) -> SocketStream:
    """A stream to who listens on a Unix socket; OSError when nobody does."""
    folder, name = os.path.split(path)
    handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:  # by its folder: the path as a whole may be longer than the kernel takes for a socket
        return SocketStream(*await asyncio.open_unix_connection(f"/proc/self/fd/{handle}/{name}"))
    finally:
        os.close(handle)


class BusStream:
    """One side of a stream over the bus. `publish` sends a message to the other side, which gives its own to `receive`."""

    def __init__(self, publish: Publish) -> None:
        self.over: list[Callable[[], object]] = []  # called once, when it is
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._changed = asyncio.Event()
        self._buffer = bytearray()
        self._received = self._read = self._told = 0  # bytes that came, that were read, that the other side knows of
        self._sent = self._taken = 0  # bytes that went, and that the other side has read
        self._ended = False  # the other side writes no more
        self._over = False
        self._problem = ""
        self._living = self._loop.create_task(self._live())

    async def read(self, limit: int) -> bytes:
        """At most `limit` bytes."""
        while not self._buffer and not self._ended and not self._over:
            await self._change()
        data = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        self._read += len(data)
        if self._read - self._told >= WINDOW // 4:
            await self._tell()
        if not data and not self._ended:
            raise ConnectionResetError(self._problem or CLOSED_BY_OTHER)
        return data

    async def write(self, data: bytes) -> None:
        """Send; waits while the other side does not read."""
        rest = memoryview(data)
        while rest:
            while self._sent - self._taken >= WINDOW and not self._over:
                await self._change()
            if self._over:
                raise ConnectionResetError(self._problem or CLOSED_BY_OTHER)
            part = rest[: min(CHUNK, WINDOW - (self._sent - self._taken))]
            place, self._sent = self._sent, self._sent + len(part)
            await self._send(DATA + place.to_bytes(8) + bytes(part))
            rest = rest[len(part) :]

    async def end(self) -> None:
        """Nothing more is written."""
        if not self._over:
            await self._send(END + self._sent.to_bytes(8))

    async def close(self) -> None:
        """Over; the other side is told."""
        if not self._over:
            with contextlib.suppress(OSError):
                await self._send(CLOSED)
        self.fail("")

    def fail(self, problem: str) -> None:
        """Over, and why. What came before can still be read."""
        if self._over:
            return
        self._over, self._problem = True, problem
        self._living.cancel()
        for callback in self.over:
            callback()
        self._wake()

    def receive(self, message: bytes) -> None:
        """Take a message of the other side, which may be hostile."""
        kind, place, data = message[:1], int.from_bytes(message[1:9]), message[9:]
        self._heard_at = self._loop.time()
        if kind == CLOSED:
            self.fail("")
        elif kind == TAKEN and self._taken <= place <= self._sent:
            self._taken = place
        elif kind == END and place == self._received:
            self._ended = True
        elif kind == DATA and place == self._received and not self._ended and len(self._buffer) + len(data) <= WINDOW:
            self._buffer += data
            self._received += len(data)
        elif kind != TAKEN:
            self.fail("Bytes were lost on the way.")
        self._wake()

    async def _live(self) -> None:
        """Give signs of life, and look for the other side's."""
        while True:
            await asyncio.sleep(SIGN_OF_LIFE)
            if self._loop.time() - self._heard_at > SILENCE:
                self.fail("The other side gives no sign of life.")
            with contextlib.suppress(OSError):
                await self._tell()

    async def _tell(self) -> None:
        self._told = self._read
        if not self._over:
            await self._send(TAKEN + self._told.to_bytes(8))

    async def _send(self, message: bytes) -> None:
        try:
            await self._publish(message)
        except PileusError as error:
            self.fail(error.message)
            raise ConnectionResetError(error.message) from error

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()


async def couple(one: ByteStream, other: ByteStream) -> None:
    """Carry bytes both ways until both have ended, or one can't go on; both are closed then."""
    ways = [asyncio.ensure_future(_carry(one, other)), asyncio.ensure_future(_carry(other, one))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await one.close()
        await other.close()


async def _carry(source: ByteStream, target: ByteStream) -> None:
    while data := await source.read(CHUNK):
        await target.write(data)
    await target.end()
