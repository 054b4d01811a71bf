"""The bus between the processes of a separated cloud: what a bus does, and a managers' process that is somebody else's."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pileus.bus import pair
from pileus.bus.pair import Ask, Carry, ManagersBus, NodeBus
from pileus.bus.streams import WINDOW
from pileus.core import request_ids
from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.guests import ConsoleKind
from pileus.model.hosts import HostReport
from pileus.model.messages import ConsoleEndpoint, ConsoleLog, Failed, NodeReply, NodeRequest, Observe, OpenConsole, ReadConsoleLog

ASKED = ReadConsoleLog(guest_id="g", lines=2)
Handle = Callable[[NodeRequest], Awaitable[NodeReply]]


async def echo(request: NodeRequest) -> NodeReply:
    assert isinstance(request, ReadConsoleLog)
    return ConsoleLog(text=request.guest_id * (request.lines or 1))


@asynccontextmanager
async def both(handle: Handle = echo, ready: Callable[[], None] = lambda: None) -> AsyncIterator[tuple[ManagersBus, NodeBus]]:
    one, other = socket.socketpair()
    managers, node = ManagersBus(one), NodeBus(other, ready)
    await node.open()
    await managers.open()
    node.attach("h1", handle)
    await until(lambda: managers.connected_at < float("inf"))
    try:
        yield managers, node
    finally:
        await managers.close()
        await node.close()


@asynccontextmanager
async def hostile(handle: Handle = echo) -> AsyncIterator[tuple[socket.socket, NodeBus]]:
    """A node whose managers' process is an attacker's."""
    one, other = socket.socketpair()
    one.setblocking(False)
    node = NodeBus(other)
    await node.open()
    node.attach("h1", handle)
    try:
        yield one, node
    finally:
        await node.close()
        one.close()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def say(end: socket.socket, message: Any) -> None:
    data = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
    await asyncio.get_running_loop().sock_sendall(end, len(data).to_bytes(4) + data)


async def answered(end: socket.socket) -> Any:
    """The next answer that the node gives."""
    loop = asyncio.get_running_loop()

    async def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = await asyncio.wait_for(loop.sock_recv(end, size - len(data)), 5)
            assert part, "the node has closed the connection"
            data += part
        return data

    while True:
        message = msgspec.msgpack.decode(await exactly(int.from_bytes(await exactly(4))))
        if message["type"] == "answer":
            return msgspec.msgpack.decode(message["body"])


def ask(body: bytes, number: int = 1) -> Ask:
    return Ask(number=number, host="h1", body=body)


def report_of(name: str) -> HostReport:
    return HostReport(host=name, address="", version="", started_at=1.0, reported_at=2.0, vcpus=1, memory_mib=1, disk_gib=1)


def test_a_request_is_answered_and_a_failure_is_an_error() -> None:
    async def fails(request: NodeRequest) -> NodeReply:
        return Failed(reason="no", detail="because", kind="NodeFailed")

    async def story() -> None:
        async with both() as (managers, _):
            assert await managers.request("h1", ASKED) == ConsoleLog(text="gg")
        async with both(fails) as (managers, _):
            with pytest.raises(NodeFailed, match="no"):
                await managers.request("h1", ASKED)

    asyncio.run(story())


def test_many_requests_are_under_way_at_once_and_each_gets_its_own_answer() -> None:
    async def slow(request: NodeRequest) -> NodeReply:
        assert isinstance(request, ReadConsoleLog)
        await asyncio.sleep(0.001 * (100 - int(request.guest_id)) / 10)
        return ConsoleLog(text=request.guest_id)

    async def story() -> None:
        async with both(slow) as (managers, _):
            replies = await asyncio.gather(*(managers.request("h1", ReadConsoleLog(guest_id=str(n))) for n in range(100)))
            assert [reply.text for reply in replies if isinstance(reply, ConsoleLog)] == [str(n) for n in range(100)]

    asyncio.run(story())


def test_unknown_hosts_and_slow_ones_are_unavailable() -> None:
    async def never(request: NodeRequest) -> NodeReply:
        await asyncio.Event().wait()
        raise AssertionError

    async def story() -> None:
        async with both(never) as (managers, _):
            with pytest.raises(Unavailable, match="not connected"):
                await managers.request("h2", ASKED)
            with pytest.raises(Unavailable, match="did not answer"):
                await managers.request("h1", ASKED, timeout=0.02)

    asyncio.run(story())


def test_a_request_says_for_whose_request_it_is() -> None:
    seen: list[str] = []

    async def note(request: NodeRequest) -> NodeReply:
        seen.append(request_ids.CURRENT.get())
        return ConsoleLog(text="")

    async def story() -> None:
        async with both(note) as (managers, _):
            request_ids.CURRENT.set("req-1")
            await managers.request("h1", ASKED)

    asyncio.run(story())
    assert seen == ["req-1"]


def test_reports_and_the_word_that_the_api_answers_come_across() -> None:
    ready: list[bool] = []

    async def story() -> None:
        async with both(ready=lambda: ready.append(True)) as (managers, node):
            heard: list[HostReport] = []
            managers.listeners.append(heard.append)
            node.report(report_of("h1"))
            managers.ready()
            await until(lambda: bool(heard and ready))
            assert heard == [report_of("h1")]

    asyncio.run(story())


@pytest.mark.parametrize("gone", ["node", "managers"])
def test_when_one_process_is_gone_the_other_knows_at_once(gone: str) -> None:
    async def never(request: NodeRequest) -> NodeReply:
        await asyncio.Event().wait()
        raise AssertionError

    async def story() -> None:
        async with both(never) as (managers, node):
            waiting = asyncio.ensure_future(managers.request("h1", ASKED))
            await asyncio.sleep(0)
            await (node if gone == "node" else managers).close()
            await asyncio.wait_for((managers if gone == "node" else node).over.wait(), 5)
            with pytest.raises(Unavailable):
                await asyncio.wait_for(waiting, 5)
            assert managers.connected_at == float("inf")
            with pytest.raises(Unavailable):
                await managers.request("h1", ASKED)
            node.report(report_of("h1"))  # what is lost is said again

    asyncio.run(story())


def test_a_consoles_bytes_go_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "serial.sock"

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def handle(request: NodeRequest) -> NodeReply:
        return ConsoleEndpoint(path=str(path))

    async def story() -> None:
        listener = await asyncio.start_unix_server(speak, path)
        async with both(handle) as (managers, _):
            stream = await managers.stream("h1", OpenConsole(guest_id="g", kind=ConsoleKind.SERIAL))
            sent = bytes(range(256)) * (3 * WINDOW // 256)
            writing = asyncio.ensure_future(stream.write(sent))
            got = b""
            while len(got) < len(sent):
                got += await asyncio.wait_for(stream.read(1 << 16), 10)
            await writing
            assert got == sent
            await stream.close()
        listener.close()

    asyncio.run(story())


def test_a_console_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    async def handle(request: NodeRequest) -> NodeReply:
        return ConsoleEndpoint(path=str(tmp_path / "none.sock"))

    async def story() -> None:
        async with both(handle) as (managers, _):
            with pytest.raises(NodeFailed, match="can't be reached"):
                await managers.stream("h1", OpenConsole(guest_id="g", kind=ConsoleKind.SERIAL))

    asyncio.run(story())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff" * 100,
        msgspec.msgpack.encode({"type": "run_program", "argv": ["sh"]}),
        msgspec.msgpack.encode({"type": "done"}),  # a reply is no request
        msgspec.msgpack.encode({"type": "read_console_log", "guest_id": 7}),
        msgspec.msgpack.encode({"type": "apply_guest", "guest": {"id": "g", "vcpus": "many"}}),
        b"\x91" * 100_000,  # nested deeper than any of ours
    ],
)
def test_the_node_refuses_what_is_no_request_and_goes_on(body: bytes) -> None:
    touched: list[NodeRequest] = []

    async def handle(request: NodeRequest) -> NodeReply:
        touched.append(request)
        return ConsoleLog(text="fine")

    async def story() -> None:
        async with hostile(handle) as (end, _):
            await say(end, ask(body))
            assert (await answered(end))["reason"] == "The host refuses what it was asked for."
            assert touched == []
            await say(end, ask(msgspec.msgpack.encode(ASKED), 2))
            assert (await answered(end))["text"] == "fine"

    asyncio.run(story())


@pytest.mark.parametrize(
    "message",
    [
        b"\xc1",
        msgspec.msgpack.encode({"type": "say", "body": b""}),  # what only a node says
        msgspec.msgpack.encode({"type": "hosts", "names": []}),
        msgspec.msgpack.encode({"type": "ask", "number": 1, "host": "h1", "body": b"", "as": "root"}),
    ],
)
def test_the_node_lets_go_of_who_sends_what_no_manager_sends(message: bytes) -> None:
    async def story() -> None:
        async with hostile() as (end, node):
            await say(end, message)
            await asyncio.wait_for(node.over.wait(), 5)

    asyncio.run(story())


def test_an_absurd_length_ends_the_connection_and_takes_no_memory() -> None:
    async def story() -> None:
        async with hostile() as (end, node):
            await asyncio.get_running_loop().sock_sendall(end, (0xFFFFFFFF).to_bytes(4) + b"x" * 1000)
            await asyncio.wait_for(node.over.wait(), 5)

    asyncio.run(story())


def test_another_host_is_not_served_and_bytes_of_no_console_go_nowhere() -> None:
    async def story() -> None:
        async with hostile() as (end, _):
            await say(end, Carry(stream=7, body=b"d" * 100))
            await say(end, Ask(number=1, host="elsewhere", body=msgspec.msgpack.encode(Observe())))
            assert "no such host" in (await answered(end))["detail"]

    asyncio.run(story())


@pytest.mark.parametrize("name", ["", "x", "-1", "1e3", "9" * 40, "../7"])
def test_a_stream_needs_a_name_of_ours(name: str, tmp_path: Path) -> None:
    async def handle(request: NodeRequest) -> NodeReply:
        return ConsoleEndpoint(path=str(tmp_path / "none.sock"))

    async def story() -> None:
        async with hostile(handle) as (end, _):
            await say(end, ask(msgspec.msgpack.encode(OpenConsole(guest_id="g", kind=ConsoleKind.VNC, stream=name))))
            assert "no valid name" in (await answered(end))["detail"]

    asyncio.run(story())


class Crowd:
    """A node that answers nobody until `go`; the most that it had to answer at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.go = asyncio.Event()

    async def handle(self, request: NodeRequest) -> NodeReply:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.go.wait()
        self.now -= 1
        return ConsoleLog(text="")


def test_who_asks_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "AT_ONCE", 3)

    async def story() -> None:
        crowd = Crowd()
        async with both(crowd.handle) as (managers, _):
            work = [asyncio.ensure_future(managers.request("h1", ASKED)) for _ in range(10)]
            await until(lambda: crowd.now == 3)
            crowd.go.set()
            await asyncio.gather(*work)
            assert crowd.most == 3

    asyncio.run(story())


def test_who_sends_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "HELD", 2500)

    async def story() -> None:
        crowd = Crowd()
        async with both(crowd.handle) as (managers, _):
            large = ReadConsoleLog(guest_id="x" * 1000)
            work = [asyncio.ensure_future(managers.request("h1", large)) for _ in range(8)]
            await until(lambda: crowd.now == 2)
            crowd.go.set()
            await asyncio.gather(*work, managers.request("h1", ReadConsoleLog(guest_id="x" * 9000)))  # alone, it is taken
            assert crowd.most == 2

    asyncio.run(story())
