"""Consoles' bytes over a real NATS server: both ways, slow readers, ends, a bus that goes away, and a hostile host."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pileus.bus import streams
from pileus.bus.nats import NatsBus
from pileus.bus.streams import DATA, WINDOW, ByteStream
from pileus.bus.subjects import Subjects
from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.guests import ConsoleKind
from pileus.model.messages import ConsoleEndpoint, NodeReply, NodeRequest, OpenConsole
from tests.driver.nats_server import CLOUD, TestServer
from tests.driver.test_nats_bus import host, manager, until

ASKED = OpenConsole(guest_id="g", kind=ConsoleKind.SERIAL)
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TestServer]:
    one = TestServer(tmp_path)
    one.start()
    yield one
    one.stop()


@asynccontextmanager
async def console(path: Path, speak: Speak) -> AsyncIterator[Callable[[NodeRequest], Awaitable[NodeReply]]]:
    """A guest's console at a Unix socket, and an agent that says where it is."""

    async def handle(request: NodeRequest) -> NodeReply:
        return ConsoleEndpoint(path=str(path))

    listener = await asyncio.start_unix_server(speak, path)
    try:
        yield handle
    finally:
        listener.close()


async def opened(bus: NatsBus, name: str) -> ByteStream:
    """The stream, once the host is there."""
    found: list[ByteStream] = []
    for _ in range(500):
        try:
            found.append(await bus.stream(name, ASKED))
        except Unavailable:
            await asyncio.sleep(0.02)
        else:
            return found[0]
    raise AssertionError(f"{name} does not answer")


async def everything(stream: ByteStream) -> bytes:
    parts: list[bytes] = []
    while part := await stream.read(1 << 16):
        parts.append(part)
    return b"".join(parts)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_bytes_go_both_ways_and_each_way_has_its_end(server: TestServer, tmp_path: Path) -> None:
    sent = bytes(range(256)) * 8192  # several windows

    async def run() -> None:
        async with console(tmp_path / "c", echo) as handle, manager(server) as bus, host(server, "one", handle):
            stream = await opened(bus, "one")
            got = asyncio.create_task(everything(stream))
            await stream.write(sent)
            await stream.end()
            assert await asyncio.wait_for(got, 30) == sent
            await stream.close()

    asyncio.run(run())


def test_a_socket_is_reached_however_long_its_path_is(server: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("a" * 100)
    folder.mkdir()
    monkeypatch.chdir(folder)

    async def run() -> None:
        async with console(Path("c"), echo), manager(server) as bus:

            async def handle(request: NodeRequest) -> NodeReply:
                return ConsoleEndpoint(path=str(folder / "c"))

            async with host(server, "one", handle):
                stream = await opened(bus, "one")
                await stream.write(b"x")
                assert await asyncio.wait_for(stream.read(1), 10) == b"x"
                await stream.close()

    asyncio.run(run())


def test_a_slow_reader_holds_back_the_guest_and_nothing_gathers(server: TestServer, tmp_path: Path) -> None:
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while True:
            writer.write(bytes(4096))
            await writer.drain()
            written += 4096

    async def run() -> None:
        async with console(tmp_path / "c", flood) as handle, manager(server) as bus, host(server, "one", handle):
            stream: Any = await opened(bus, "one")
            await until(lambda: stream._received == WINDOW)
            held: list[int] = []

            def still() -> bool:
                held.append(written)
                return len(held) > 50 and held[-50] == held[-1]

            await until(still)
            assert stream._received == WINDOW
            assert written < WINDOW + (2 << 20)  # what the sockets' own buffers take
            before = written
            while written <= before:
                await stream.read(1 << 16)
            await stream.close()

    asyncio.run(run())


def test_a_guest_that_does_not_read_holds_back_the_browser(server: TestServer, tmp_path: Path) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def run() -> None:
        async with console(tmp_path / "c", deaf) as handle, manager(server) as bus, host(server, "one", handle):
            stream: Any = await opened(bus, "one")
            writing = asyncio.create_task(stream.write(bytes(16 << 20)))
            await until(lambda: stream._sent - stream._taken == WINDOW)
            assert not writing.done()
            assert stream._sent < 4 << 20
            writing.cancel()
            await stream.close()

    asyncio.run(run())


def test_the_guests_socket_is_closed_when_the_browser_has_gone_though_the_guest_is_silent(server: TestServer, tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        closed.set()

    async def run() -> None:
        async with console(tmp_path / "c", silent) as handle, manager(server) as bus, host(server, "one", handle) as agent:
            stream = await opened(bus, "one")
            await stream.close()
            await asyncio.wait_for(closed.wait(), 10)
            await until(lambda: not agent._streams._open and not bus._streams._open)

    asyncio.run(run())


def test_a_stream_ends_when_its_console_ends(server: TestServer, tmp_path: Path) -> None:
    async def last(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"the last words")
        writer.close()

    async def run() -> None:
        async with console(tmp_path / "c", last) as handle, manager(server) as bus, host(server, "one", handle):
            stream = await opened(bus, "one")
            assert await asyncio.wait_for(everything(stream), 10) == b"the last words"
            await stream.close()

    asyncio.run(run())


def test_a_console_that_is_not_there_is_said_so(server: TestServer, tmp_path: Path) -> None:
    async def handle(request: NodeRequest) -> NodeReply:
        return ConsoleEndpoint(path=str(tmp_path / "nothing"))

    async def run() -> None:
        async with manager(server) as bus, host(server, "one", handle):
            with pytest.raises(NodeFailed, match="can't be reached"):
                await opened(bus, "one")
            assert not bus._streams._open

    asyncio.run(run())


def test_streams_end_when_the_bus_is_lost(server: TestServer, tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        closed.set()

    async def run() -> None:
        async with console(tmp_path / "c", silent) as handle, manager(server) as bus, host(server, "one", handle):
            stream = await opened(bus, "one")
            reading = asyncio.create_task(stream.read(1))
            server.stop()
            with pytest.raises(ConnectionResetError, match="lost"):
                await asyncio.wait_for(reading, 10)
            await asyncio.wait_for(closed.wait(), 10)

    asyncio.run(run())


def test_a_side_that_falls_silent_is_given_up(server: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SIGN_OF_LIFE", 0.1)
    monkeypatch.setattr(streams, "SILENCE", 0.6)

    async def run() -> None:
        async with console(tmp_path / "c", echo) as handle, manager(server) as bus, host(server, "one", handle) as agent:
            stream = await opened(bus, "one")
            await until(lambda: bool(agent._streams._open))
            await stream.write(b"x")
            assert await asyncio.wait_for(stream.read(1), 10) == b"x"
            await asyncio.sleep(1.0)  # longer than the silence: signs of life keep an idle stream
            await stream.write(b"y")
            assert await asyncio.wait_for(stream.read(1), 10) == b"y"
            for one in agent._streams._open.values():
                one._living.cancel()
            with pytest.raises(ConnectionResetError, match="sign of life"):
                await asyncio.wait_for(stream.read(1), 10)

    asyncio.run(run())


def test_a_hostile_host_hears_nothing_of_another_hosts_stream_and_says_nothing_in_it(server: TestServer, tmp_path: Path) -> None:
    names = Subjects(cloud=CLOUD)

    async def run() -> None:
        async with (
            console(tmp_path / "c", echo) as handle,
            manager(server) as bus,
            host(server, "victim", handle),
            host(server, "evil", handle) as evil,
        ):
            stream: Any = await opened(bus, "victim")
            (_, name), _ = next(iter(bus._streams._open.items()))
            asker, number = name.split(".")
            stolen: list[Any] = []

            async def steal(message: Any) -> None:
                stolen.append(message)

            client = evil.connection._client
            for way in ("up", "down"):
                await client.subscribe(names.stream("victim", asker, number, way), cb=steal)
            for subject in ("pileus.*.stream.>", f"pileus.{CLOUD}.stream.*.up.>", f"pileus.{CLOUD}.stream.victim.>"):
                await client.subscribe(subject, cb=steal)
            forged = DATA + bytes(8) + b"forged"
            for target in ("victim", "evil"):  # the second it may use, but the stream is not its own
                await client.publish(names.stream(target, asker, number, "down"), forged)
            await client.publish(names.stream("victim", asker, number, "up"), forged)
            await client.flush()
            await stream.write(b"a secret")
            assert await asyncio.wait_for(stream.read(100), 10) == b"a secret"
            assert stolen == []

    asyncio.run(run())


def test_a_host_that_sends_more_than_it_may_loses_its_stream(server: TestServer, tmp_path: Path) -> None:
    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async def run() -> None:
        async with console(tmp_path / "c", quiet) as handle, manager(server) as bus, host(server, "evil", handle) as evil:
            stream: Any = await opened(bus, "evil")
            (_, name), _ = next(iter(bus._streams._open.items()))
            asker, number = name.split(".")
            subject = Subjects(cloud=CLOUD).stream("evil", asker, number, "down")
            for place in range(0, 4 * WINDOW, 1 << 16):
                await evil.connection.publish(subject, DATA + place.to_bytes(8) + bytes(1 << 16))
            await until(lambda: not bus._streams._open)
            assert len(stream._buffer) <= WINDOW
            with pytest.raises(ConnectionResetError, match="lost on the way"):
                await everything(stream)

    asyncio.run(run())
