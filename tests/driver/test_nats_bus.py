"""The bus over a real NATS server: requests, reports, wake-ups, a server that goes away, and a hostile host."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pileus.bus import nats as nats_bus
from pileus.bus import nkeys
from pileus.bus.nats import NatsBus
from pileus.bus.subjects import Subjects, name_of, token
from pileus.model.errors import Invalid, NodeFailed, Unavailable
from pileus.model.hosts import HostReport
from pileus.model.messages import ConsoleLog, Done, Failed, NodeReply, NodeRequest, Observe, ReadConsoleLog, RemoveGuest
from tests.driver.nats_server import CLOUD, TestServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TestServer]:
    one = TestServer(tmp_path)
    one.start()
    yield one
    one.stop()


@asynccontextmanager
async def manager(server: TestServer) -> AsyncIterator[NatsBus]:
    bus = NatsBus(server.credentials(), "manager")
    await bus.open()
    await bus.manage(reports=True)
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def host(server: TestServer, name: str, handle: Callable[[NodeRequest], Awaitable[NodeReply]]) -> AsyncIterator[NatsBus]:
    bus = NatsBus(server.credentials(name), name)
    await bus.open()
    await bus.serve(name, handle)
    try:
        yield bus
    finally:
        await bus.close()


async def echo(request: NodeRequest) -> NodeReply:
    assert isinstance(request, ReadConsoleLog)
    return ConsoleLog(text=request.guest_id * (request.lines or 1))


def report_of(name: str, started_at: float = 1.0) -> HostReport:
    return HostReport(host=name, address="", version="", started_at=started_at, reported_at=2.0, vcpus=1, memory_mib=1, disk_gib=1)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def heard(bus: NatsBus, name: str) -> None:
    """Return when the host's subscription has reached the server."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            await bus.request(name, ReadConsoleLog(guest_id="x"), timeout=5)
        except (Unavailable, NodeFailed):
            await asyncio.sleep(0.02)
        else:
            return
    raise AssertionError(f"{name} does not answer")


def test_a_request_is_answered_by_its_host_also_when_it_is_large(server: TestServer) -> None:
    async def run() -> None:
        async with manager(server) as bus, host(server, "one.example", echo), host(server, "two", echo):
            await heard(bus, "one.example")
            reply = await bus.request("one.example", ReadConsoleLog(guest_id="line\n", lines=300_000))
            assert isinstance(reply, ConsoleLog) and len(reply.text) == 1_500_000

    asyncio.run(run())


def test_what_a_host_could_not_do_is_an_error_with_its_words(server: TestServer) -> None:
    async def refuse(request: NodeRequest) -> NodeReply:
        return Failed(reason="no room", detail="disk", kind="NodeFailed") if isinstance(request, RemoveGuest) else ConsoleLog(text="")

    async def run() -> None:
        async with manager(server) as bus, host(server, "one", refuse):
            await heard(bus, "one")
            with pytest.raises(NodeFailed, match="no room"):
                await bus.request("one", RemoveGuest(guest_id="x"))

    asyncio.run(run())


def test_a_host_that_is_not_there_is_known_at_once(server: TestServer) -> None:
    async def run() -> None:
        async with manager(server) as bus:
            began = time.monotonic()
            with pytest.raises(Unavailable, match="not connected"):
                await bus.request("nobody", Observe(), timeout=30)
            assert time.monotonic() - began < 5

    asyncio.run(run())


def test_long_work_is_waited_for_while_the_host_gives_signs_of_life(server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_bus, "SIGN_OF_LIFE", 0.1)
    monkeypatch.setattr(nats_bus, "SILENCE", 0.5)

    async def slow(request: NodeRequest) -> NodeReply:
        await asyncio.sleep(1.5)
        return Done()

    async def run() -> None:
        async with manager(server) as bus, host(server, "one", slow):
            await until(lambda: True)
            reply = None
            while reply is None:
                try:
                    reply = await bus.request("one", Observe(), timeout=10)
                except Unavailable as error:
                    assert "not connected" in error.message
            assert reply == Done()

    asyncio.run(run())


def test_a_host_that_starts_anew_ends_what_it_was_asked_before(server: TestServer) -> None:
    asked = asyncio.Event()

    async def never(request: NodeRequest) -> NodeReply:
        if isinstance(request, ReadConsoleLog):
            return ConsoleLog(text="")
        asked.set()
        await asyncio.sleep(60)
        return Done()

    async def run() -> None:
        async with manager(server) as bus, host(server, "one", never) as agent:
            await heard(bus, "one")
            agent.report(report_of("one", 1.0))
            got: list[HostReport] = []
            bus.listeners.append(got.append)
            await until(lambda: bool(got))
            waiting = asyncio.create_task(bus.request("one", Observe(), timeout=60))
            await asked.wait()
            agent.report(report_of("one", 2.0))
            with pytest.raises(Unavailable, match="started anew"):
                await waiting

    asyncio.run(run())


def test_requests_end_when_the_bus_goes_and_work_again_when_it_is_back(server: TestServer) -> None:
    async def never(request: NodeRequest) -> NodeReply:
        if isinstance(request, ReadConsoleLog):
            return ConsoleLog(text="")
        await asyncio.sleep(60)
        return Done()

    async def run() -> None:
        async with manager(server) as bus, host(server, "one", never) as agent:
            await heard(bus, "one")
            waiting = asyncio.create_task(bus.request("one", Observe(), timeout=60))
            await asyncio.sleep(0)
            server.stop()
            with pytest.raises(Unavailable, match=r"lost|not reached"):
                await waiting
            with pytest.raises(Unavailable, match="not reached"):
                await bus.request("one", Observe(), timeout=5)
            agent.report(report_of("one"))  # lost, and no harm done
            server.start()
            await until(lambda: bus.connection.connected and agent.connection.connected)
            await heard(bus, "one")

    asyncio.run(run())


def test_a_process_may_start_before_its_bus(server: TestServer) -> None:
    server.stop()

    async def run() -> None:
        bus = NatsBus(server.credentials(), "early")
        await bus.open(patience=0.2)
        await bus.manage(reports=True)
        assert not bus.connection.connected
        server.start()
        await until(lambda: bus.connection.connected)
        async with host(server, "one", echo):
            await heard(bus, "one")
        await bus.close()

    asyncio.run(run())


def test_wake_ups_reach_every_cluster_process(server: TestServer) -> None:
    async def run() -> None:
        async with manager(server) as one, manager(server) as other, manager(server) as api:
            got: list[tuple[str, str]] = []
            one.wakers.append(lambda name, id: got.append((name, id)))
            other.wakers.append(lambda name, id: got.append((name, id)))
            await one.connection._client.flush()
            await other.connection._client.flush()
            api.wake("servers", "a")
            api.wake("routing", "b/c")
            await until(lambda: len(got) == 4)
            assert sorted(set(got)) == [("routing", "b/c"), ("servers", "a")]

    asyncio.run(run())


def test_a_hostile_host_reads_nothing_of_others_and_speaks_for_nobody_else(server: TestServer) -> None:
    """With its own valid credentials on the bus, beyond what the program would do."""
    names = Subjects(cloud=CLOUD)

    async def run() -> None:
        async with manager(server) as bus, host(server, "victim", echo), host(server, "evil", echo) as evil:
            await heard(bus, "victim")
            await heard(bus, "evil")
            reports: list[HostReport] = []
            bus.listeners.append(reports.append)
            client = evil.connection._client
            stolen: list[Any] = []

            async def steal(message: Any) -> None:
                stolen.append(message)

            for subject in (
                ">",
                "pileus.>",
                names.node("victim"),
                names.node("*"),
                names.report("*"),
                "pileus.*.reply.>",
                "_INBOX.>",
                "$SYS.>",
            ):
                await client.subscribe(subject, cb=steal)
            await client.publish(names.report("victim"), b"\0x")
            await client.publish(names.node("victim"), b"\0x")
            await client.publish(names.wake("servers"), b"x")
            await client.publish(names.reply("victim", bus._me, 1), b"\0x")
            await client.flush()
            await bus.request("victim", ReadConsoleLog(guest_id="secret"))
            evil.report(report_of("victim"))  # in another's name on its own subject
            await evil.connection.publish(names.report("evil"), b"\xff garbage")
            evil.report(report_of("evil"))
            await until(lambda: bool(reports))
            assert [one.host for one in reports] == ["evil"]
            assert stolen == []

    asyncio.run(run())


def test_a_host_whose_clock_is_wrong_or_jumps_is_understood_by_our_clock(server: TestServer) -> None:
    async def run() -> None:
        async with manager(server) as bus, host(server, "one", echo) as agent:
            await heard(bus, "one")
            got: list[HostReport] = []
            bus.listeners.append(got.append)
            for number, wrong in enumerate((0.0, -600.0, 600.0, 3600.0)):
                agent.report(msgspec.structs.replace(report_of("one"), reported_at=time.time() + wrong))
                await until(lambda wanted=number + 1: len(got) == wanted)  # type: ignore[misc]
                assert abs(got[-1].reported_at - time.time()) < 5

    asyncio.run(run())


def test_claims_that_another_cloud_has_signed_are_refused(server: TestServer, tmp_path: Path) -> None:
    other = TestServer(tmp_path)
    other.port = server.port

    async def run() -> None:
        bus = NatsBus(other.credentials(), "stranger")
        await bus.open(patience=1.0)
        assert not bus.connection.connected
        assert "uthorization" in bus.connection.problem
        await bus.close()

    asyncio.run(run())


def test_names_of_hosts_stand_in_subjects_as_one_part() -> None:
    for name in ("h1", "a.b-c", "ünï_x", "a*b>c d", "%41"):
        assert name_of(token(name)) == name
        assert not set(token(name)) & set(".*> ")


def test_keys_are_checked_when_they_are_read() -> None:
    seed = nkeys.new_seed("user")
    assert nkeys.check_public(nkeys.public_key(seed), "user").startswith("U")
    with pytest.raises(Invalid):
        nkeys.check_public(nkeys.public_key(seed), "account")
    with pytest.raises(Invalid):
        nkeys.check_public(nkeys.public_key(seed)[:-1] + "A", "user")
    with pytest.raises(Invalid):
        nkeys.public_key("SUAA")
