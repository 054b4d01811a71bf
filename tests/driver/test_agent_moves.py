"""A guest goes from one agent to another: simulated guests, so that every phase and its end is quick to reach."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pileus.model.guests import Guest, GuestDisk, ObservedGuest, ObservedPower, Power
from pileus.model.hosts import HostReport
from pileus.model.messages import (
    ApplyGuest,
    AskMove,
    CancelMove,
    Done,
    Failed,
    FinishIncoming,
    ForceMove,
    ForecastMove,
    GuestReply,
    IncomingReady,
    MoveReply,
    NodeReply,
    NodeRequest,
    Observe,
    PrepareIncoming,
    RemoveGuest,
    ReportReply,
    ResumeOutgoing,
    StartOutgoing,
)
from pileus.model.moves import MoveOptions, MovePhase, MoveProgress
from pileus.model.routing import RoutingDomain
from pileus.node.agent import Agent
from pileus.node.hypervisor.simulated import SimulatedDriver
from pileus.node.hypervisor.simulated_moves import DIRTY_RATE
from pileus.node.machine import SimulatedMachine
from pileus.node.network import carried
from tests.driver.test_agent import FakeNetwork

MOVE = "move-1"
SLOW = MoveOptions(bandwidth=1 << 20)


class Host:
    """An agent with simulated guests; `restart` is what a new process would be."""

    def __init__(self, name: str, state: Path) -> None:
        self.name, self.state = name, state
        self.reports: list[HostReport] = []
        self._make()

    def _make(self) -> None:
        self.driver = SimulatedDriver(self.state / self.name)
        self.network = FakeNetwork()
        self.agent = Agent(self.name, [self.driver], self.network, SimulatedMachine())

    async def restart(self) -> None:
        await self.agent.close()
        self._make()
        await self.agent.start(self.reports.append)

    async def ask(self, request: NodeRequest) -> Any:
        reply: NodeReply = await self.agent.handle(request)
        assert not isinstance(reply, Failed), reply
        return reply

    async def refused(self, request: NodeRequest) -> str:
        reply = await self.agent.handle(request)
        assert isinstance(reply, Failed), reply
        return reply.kind

    async def progress(self) -> MoveProgress:
        reply = await self.ask(AskMove(migration_id=MOVE, guest_id="guest-1"))
        assert isinstance(reply, MoveReply)
        return reply.progress

    async def reach(self, phase: MovePhase) -> MoveProgress:
        deadline = time.monotonic() + 5.0
        while (found := await self.progress()).phase is not phase:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.002)
        return found

    async def seen(self) -> ObservedGuest | None:
        reply = await self.ask(Observe())
        assert isinstance(reply, ReportReply)
        return next((one for one in reply.report.guests if one.id == "guest-1"), None)


def guest(**changes: Any) -> Guest:
    disks = [GuestDisk(name="root", size=1 << 30)]
    given = {"id": "guest-1", "name": "one", "project_id": "p", "vcpus": 1, "memory_mib": 64, "generation": 5, "disks": disks}
    return Guest(**{**given, "metadata": {"ec2/x": "y"}, **changes})


def play(tmp_path: Path, scenario: Callable[[Host, Host], Awaitable[None]], wanted: Guest | None = None) -> None:
    async def inner() -> None:
        source, destination = Host("a", tmp_path), Host("b", tmp_path)
        for host in (source, destination):
            await host.agent.start(host.reports.append)
        try:
            for power in dict.fromkeys((Power.RUNNING, (wanted or guest()).power)):
                generation = 4 if power is Power.RUNNING and wanted else 5
                await source.ask(ApplyGuest(guest=msgspec.structs.replace(wanted or guest(), power=power, generation=generation)))
            await scenario(source, destination)
        finally:
            for host in (source, destination):
                await host.ask(RemoveGuest(guest_id="guest-1"))
                await host.agent.close()

    asyncio.run(inner())


async def begin(source: Host, destination: Host, options: MoveOptions | None = None, wanted: Guest | None = None) -> None:
    ready = await destination.ask(PrepareIncoming(migration_id=MOVE, guest=wanted or guest(), domains=[RoutingDomain(id="d")]))
    assert isinstance(ready, IncomingReady)
    await source.ask(StartOutgoing(migration_id=MOVE, guest_id="guest-1", target=ready.target, options=options or MoveOptions()))


async def running(*hosts: Host) -> list[str]:
    seen = [(host.name, await host.seen()) for host in hosts]
    return [name for name, one in seen if one and one.power is ObservedPower.RUNNING]


class Killed(BaseException):
    """As `kill -9` in the middle of a step."""


@pytest.mark.parametrize("side", ["source", "destination"])
def test_killed_between_what_both_sides_write_of_a_switch_the_move_goes_on(tmp_path: Path, side: str) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination, SLOW)

        def dies(state: object) -> None:
            raise Killed

        (source if side == "source" else destination).driver.moves._keep = dies
        with pytest.raises(Killed):
            await source.driver.moves.force(MOVE, "guest-1")
        for host in (destination, source):
            await host.restart()
        await source.ask(ForceMove(migration_id=MOVE, guest_id="guest-1"))
        await source.reach(MovePhase.SWITCHED)
        await destination.ask(FinishIncoming(migration_id=MOVE, guest=guest(generation=6)))
        assert await running(source, destination) == ["b"]

    play(tmp_path, scenario)


def test_a_guest_moves_and_runs_on_one_side_at_a_time(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination)
        assert await running(source, destination) in (["a"], [])
        there = await destination.seen()
        assert there and (there.migration, there.power, there.generation) == (MOVE, ObservedPower.PAUSED, 0)
        assert destination.network.applied == {"d": "digest of 0"}
        found = await source.reach(MovePhase.SWITCHED)
        assert found.rounds and found.pause_ms is not None and found.memory_remaining == 0
        assert found.disk_sent == found.disk_total > 0
        here = await source.seen()
        assert here and (here.migration, here.power) == (MOVE, ObservedPower.PAUSED)
        assert await running(source, destination) == []
        for _ in range(2):
            reply = await destination.ask(FinishIncoming(migration_id=MOVE, guest=guest(generation=6)))
            assert isinstance(reply, GuestReply)
            assert (reply.guest.power, reply.guest.generation, reply.guest.migration) == (ObservedPower.RUNNING, 6, "")
        assert await running(source, destination) == ["b"]
        assert (await destination.progress()).phase is MovePhase.FINISHED
        assert await source.ask(RemoveGuest(guest_id="guest-1")) == Done()
        assert (await source.progress()).phase is MovePhase.UNKNOWN
        applied = await destination.ask(ApplyGuest(guest=guest(generation=7, power=Power.STOPPED)))
        assert applied.guest.power is ObservedPower.STOPPED

    play(tmp_path, scenario)


def test_a_guests_connections_are_told_when_asked_for_and_tracked_before_it_runs(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        source.network.connected = {"10.0.0.5": ["one", "two"], "10.0.0.6": ["another guest's"]}
        await begin(source, destination)
        await source.reach(MovePhase.SWITCHED)
        ask = AskMove(migration_id=MOVE, guest_id="guest-1")
        assert (await source.ask(ask)).connections == {}
        told = (await source.ask(msgspec.structs.replace(ask, connections=True))).connections
        assert told == {"guest-1-port": ["one", "two"]}
        assert (await destination.seen() or guest()).power is ObservedPower.PAUSED
        told |= {"a port of somebody else": ["three"]}
        await destination.ask(FinishIncoming(migration_id=MOVE, guest=guest(), connections=told))
        assert destination.network.connected == {"10.0.0.5": ["one", "two"]}
        assert await running(source, destination) == ["b"]

    play(tmp_path, scenario)


def test_what_is_carried_is_bounded_and_so_is_the_time_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "MOST", 10)
    monkeypatch.setattr(carried, "PATIENCE", 0.02)

    async def scenario(source: Host, destination: Host) -> None:
        source.network.connected = {"10.0.0.5": ["four", "five", "sixth"]}
        assert await carried.gathered(source.network, "guest-1") == {"guest-1-port": ["four", "five"]}

        async def silent(*_: Any) -> Any:
            await asyncio.Event().wait()

        source.network.connections = source.network.restore = silent  # type: ignore[method-assign]
        began = time.monotonic()
        assert await carried.gathered(source.network, "guest-1") == {}
        assert await carried.tracked(source.network, "guest-1", {"guest-1-port": ["four"]}) == 0
        assert time.monotonic() - began < 1

    play(tmp_path, scenario)


def test_metadata_is_known_at_the_destination_from_the_preparation_on(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination, SLOW)
        assert destination.network.metadata_of and destination.network.metadata_of("guest-1") == {"ec2/x": "y"}
        await destination.ask(CancelMove(migration_id=MOVE, guest_id="guest-1"))
        assert destination.network.metadata_of("guest-1") is None

    play(tmp_path, scenario)


def test_a_guest_that_is_off_or_suspended_moves_as_it_is(tmp_path: Path) -> None:
    for power in (Power.STOPPED, Power.SUSPENDED):
        wanted = guest(power=power)

        async def scenario(source: Host, destination: Host, wanted: Guest = wanted) -> None:
            await begin(source, destination, wanted=wanted)
            found = await source.reach(MovePhase.SWITCHED)
            assert found.rounds == []
            reply = await destination.ask(FinishIncoming(migration_id=MOVE, guest=wanted))
            assert reply.guest.power.value == wanted.power.value

        play(tmp_path / power.value, scenario, wanted)


def test_what_is_asked_of_a_guest_on_its_way_is_left_until_it_has_arrived(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination)
        await source.reach(MovePhase.SWITCHED)
        for host in (source, destination):
            reply = await host.ask(ApplyGuest(guest=guest(generation=9)))
            assert reply.guest.power is ObservedPower.PAUSED
        assert await running(source, destination) == []

    play(tmp_path, scenario)


def test_it_does_not_finish_before_it_was_given_away(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination, SLOW)
        assert await destination.refused(FinishIncoming(migration_id=MOVE, guest=guest())) == "Conflict"
        assert await destination.refused(FinishIncoming(migration_id="another", guest=guest())) == "NotFound"
        assert await running(source, destination) == ["a"]

    play(tmp_path, scenario)


def test_cancelled_it_goes_on_at_the_source_and_leaves_nothing_at_the_destination(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination, SLOW)
        for expected in (MovePhase.CANCELLED, MovePhase.CANCELLED):
            reply = await source.ask(CancelMove(migration_id=MOVE, guest_id="guest-1"))
            assert reply.progress.phase is expected
        for expected in (MovePhase.CANCELLED, MovePhase.UNKNOWN):
            reply = await destination.ask(CancelMove(migration_id=MOVE, guest_id="guest-1"))
            assert reply.progress.phase is expected
        assert await destination.seen() is None
        assert await running(source, destination) == ["a"]

    play(tmp_path, scenario)


def test_what_has_been_given_away_can_not_be_cancelled_but_resumed(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination)
        await source.reach(MovePhase.SWITCHED)
        reply = await source.ask(CancelMove(migration_id=MOVE, guest_id="guest-1"))
        assert reply.progress.phase is MovePhase.SWITCHED
        await destination.ask(RemoveGuest(guest_id="guest-1"))
        resumed = await source.ask(ResumeOutgoing(migration_id=MOVE, guest_id="guest-1"))
        assert (resumed.guest.power, resumed.guest.migration) == (ObservedPower.RUNNING, "")
        assert (await source.progress()).phase is MovePhase.FAILED

    play(tmp_path, scenario)


def test_a_lost_destination_fails_the_move_and_the_guest_goes_on(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination, MoveOptions(bandwidth=2_000_000_000))
        await destination.ask(RemoveGuest(guest_id="guest-1"))
        found = await source.reach(MovePhase.FAILED)
        assert found.error
        assert await running(source, destination) == ["a"]

    play(tmp_path, scenario)


def test_a_guest_that_ends_on_its_way_fails_the_move(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination, SLOW)
        source.driver.end("guest-1", ObservedPower.CRASHED)
        assert (await source.reach(MovePhase.FAILED)).error

    play(tmp_path, scenario)


def test_both_agents_may_be_replaced_on_the_way(tmp_path: Path) -> None:
    async def scenario(source: Host, destination: Host) -> None:
        await begin(source, destination, MoveOptions(bandwidth=2_000_000_000))
        await source.restart()
        await destination.restart()
        await source.reach(MovePhase.SWITCHED)
        await destination.restart()
        reply = await destination.ask(FinishIncoming(migration_id=MOVE, guest=guest()))
        assert reply.guest.power is ObservedPower.RUNNING

    play(tmp_path, scenario)


def test_a_busy_guest_is_forced_or_ends_in_post_copy(tmp_path: Path) -> None:
    busy = guest(extra={DIRTY_RATE: str(1 << 30)})
    options = MoveOptions(bandwidth=100 << 20, deadline=300.0)

    async def forced(source: Host, destination: Host) -> None:
        forecast = await source.ask(ForecastMove(guest_id="guest-1", options=options))
        assert not forecast.progress.forecast.converges and "MiB a second" in forecast.progress.forecast.reason
        await begin(source, destination, options, busy)
        reply = await source.ask(ForceMove(migration_id=MOVE, guest_id="guest-1"))
        assert reply.progress.phase is MovePhase.SWITCHED

    async def post_copy(source: Host, destination: Host) -> None:
        patience = MoveOptions(bandwidth=200 << 20, deadline=0.0)
        await begin(source, destination, patience, busy)
        await source.reach(MovePhase.POST_COPY)
        assert (await destination.progress()).phase is MovePhase.POST_COPY
        reply = await destination.ask(FinishIncoming(migration_id=MOVE, guest=busy))
        assert reply.guest.power is ObservedPower.RUNNING
        await source.reach(MovePhase.SWITCHED)
        assert (await destination.progress()).phase is MovePhase.FINISHED

    play(tmp_path / "forced", forced, busy)
    play(tmp_path / "post-copy", post_copy, busy)
