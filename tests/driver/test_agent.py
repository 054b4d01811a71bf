"""The agent of a host: answers messages, keeps order, remembers metadata, reports at the start, from time to time and on change."""

import asyncio
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pileus.core.network_plan import ports_of
from pileus.model.errors import NodeFailed
from pileus.model.guests import ConsoleKind, Guest, GuestDisk, ObservedGuest, ObservedPower, Power
from pileus.model.hosts import Capability, DriverCapabilities, HostReport
from pileus.model.messages import (
    ApplyDomain,
    ApplyGuest,
    ConsoleLog,
    DiagnosticsReply,
    DomainReply,
    Done,
    Failed,
    GuestReply,
    NodeReply,
    NodeRequest,
    Observe,
    OpenConsole,
    ReadConsoleLog,
    ReadDiagnostics,
    RemoveDomain,
    RemoveGuest,
    ReportReply,
    Snapshot,
    SnapshotDone,
)
from pileus.model.routing import DomainPort, RoutingDomain
from pileus.node import agent as agent_module
from pileus.node.agent import Agent
from pileus.node.hypervisor.driver import DISKS_LOST
from pileus.node.hypervisor.registry import find_drivers, load_driver
from pileus.node.hypervisor.simulated import FAIL, SimulatedDriver
from pileus.node.machine import RealMachine, SimulatedMachine
from pileus.node.network.driver import MetadataOf


class FakeNetwork:
    """Remembers what it was told; fails on request."""

    name = "fake"

    def __init__(self) -> None:
        self.applied: dict[str, str] = {}
        self.domains: dict[str, RoutingDomain] = {}
        self.connected: dict[str, list[str]] = {}
        self.failure: str | None = None
        self.metadata_of: MetadataOf | None = None

    async def probe(self) -> list[Capability]:
        return []

    async def start(self, metadata_of: MetadataOf) -> dict[str, str]:
        self.metadata_of = metadata_of
        return self.applied

    async def observe(self) -> dict[str, str]:
        return self.applied

    async def apply(self, domain: RoutingDomain, taps: Callable[[], None] | None = None) -> str:
        if self.failure:
            raise NodeFailed(self.failure, detail="what nft said")
        self.domains[domain.id] = domain
        self.applied[domain.id] = f"digest of {len(domain.ports)}"
        return self.applied[domain.id]

    def read_at(self, domain_id: str) -> int:
        return self.domains[domain_id].read_at if domain_id in self.domains else 0

    async def remove(self, domain_id: str) -> None:
        self.applied.pop(domain_id, None)
        self.domains.pop(domain_id, None)

    def open_tap(self, domain_id: str, port_id: str) -> int:
        raise NodeFailed("There are no taps here.")

    def ports_of(self, guest_id: str) -> dict[str, tuple[str, list[str]]]:
        return {f"{guest_id}-port": ("d", ["10.0.0.5"])} | ports_of(self.domains.values(), guest_id)

    async def connections(self, domain_id: str, addresses: list[str]) -> list[str]:
        if self.failure:
            raise NodeFailed(self.failure)
        return self.connected.get(addresses[0], [])

    async def restore(self, domain_id: str, addresses: list[str], connections: list[str]) -> int:
        if self.failure:
            raise NodeFailed(self.failure)
        self.connected[addresses[0]] = connections
        return len(connections)

    async def close(self) -> None:
        self.metadata_of = None


class Bench:
    """An agent with a simulated hypervisor, and all that it reported."""

    def __init__(self, state: Path | None = None, period: float = 60.0) -> None:
        self.driver = SimulatedDriver(state)
        self.network = FakeNetwork()
        self.reports: list[HostReport] = []
        self.agent = Agent("host-1", [self.driver], self.network, SimulatedMachine(vcpus=8), address="192.0.2.1", period=period)

    async def ask(self, request: NodeRequest) -> NodeReply:
        """As over a wire: only what can be encoded passes."""
        there = msgspec.json.decode(msgspec.json.encode(request), type=NodeRequest)
        return msgspec.json.decode(msgspec.json.encode(await self.agent.handle(there)), type=NodeReply)

    async def apply(self, guest: Guest, *domains: RoutingDomain) -> GuestReply:
        reply = await self.ask(ApplyGuest(guest=guest, domains=list(domains)))
        assert isinstance(reply, GuestReply), reply
        return reply


def guest(**changes: Any) -> Guest:
    defaults: dict[str, Any] = {"id": "guest-1", "name": "one", "project_id": "p", "generation": 5, "vcpus": 1, "memory_mib": 512}
    return Guest(**{**defaults, "metadata": {"openstack/latest/meta_data.json": "{}"}, **changes})


def run(scenario: Callable[[Bench], Awaitable[None]], bench: Bench | None = None) -> None:
    async def play() -> None:
        one = bench or Bench()
        await one.agent.start(one.reports.append)
        try:
            await scenario(one)
        finally:
            await one.agent.close()

    asyncio.run(play())


def test_the_first_report_is_complete_and_says_what_the_host_is() -> None:
    async def scenario(bench: Bench) -> None:
        (report,) = bench.reports
        assert (report.host, report.address, report.vcpus, report.complete) == ("host-1", "192.0.2.1", 8, True)
        assert [one.driver for one in report.capabilities] == ["simulated"]

    run(scenario)


def test_a_guest_is_applied_after_its_domains() -> None:
    async def scenario(bench: Bench) -> None:
        reply = await bench.apply(guest(), RoutingDomain(id="domain-1"))
        assert (reply.guest.power, reply.guest.generation) == (ObservedPower.RUNNING, 5)
        assert bench.network.applied == {"domain-1": "digest of 0"}

    run(scenario)


def test_a_guest_whose_network_fails_is_not_started() -> None:
    async def scenario(bench: Bench) -> None:
        bench.network.failure = "The bridge could not be made."
        reply = await bench.ask(ApplyGuest(guest=guest(), domains=[RoutingDomain(id="domain-1")]))
        assert reply == Failed(reason="The bridge could not be made.", detail="what nft said", kind="NodeFailed")
        assert await bench.driver.observe() == []

    run(scenario)


def test_an_order_that_comes_late_is_ignored() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.apply(guest())
        late = await bench.apply(guest(generation=4, power=Power.STOPPED))
        assert (late.guest.power, late.guest.generation) == (ObservedPower.RUNNING, 5)

    run(scenario)


def test_a_guest_whose_disks_are_lost_does_not_start_from_empty_ones(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reply = await bench.ask(ApplyGuest(guest=guest(made=True), domains=[]))
        assert reply == Failed(reason=DISKS_LOST, kind="NodeFailed")
        assert await bench.driver.observe() == []
        await bench.apply(guest(builds=1))  # as it is told after a rebuild
        assert (await bench.apply(guest(builds=1, made=True, generation=6))).guest.power == ObservedPower.RUNNING
        bench.agent.shared_disks = True
        await bench.apply(guest(id="from-elsewhere", made=True))

    run(scenario)


def test_an_error_of_the_driver_is_in_what_is_observed() -> None:
    async def scenario(bench: Bench) -> None:
        reply = await bench.apply(guest(extra={FAIL: "out of memory"}))
        assert (reply.guest.error, reply.guest.generation) == ("out of memory", 0)

    run(scenario)


def test_an_unexpected_error_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bench: Bench) -> None:
        async def broken(domain_id: str) -> None:
            raise ZeroDivisionError("secret detail")

        monkeypatch.setattr(bench.network, "remove", broken)
        reply = await bench.ask(RemoveDomain(domain_id="domain-1"))
        assert isinstance(reply, Failed)
        assert reply.kind == "internal"
        assert "secret" not in reply.reason

    run(scenario)


def test_requests_for_one_guest_keep_their_order_and_do_not_hold_up_others() -> None:
    bench = Bench()
    bench.driver = SimulatedDriver(delay=0.05)
    bench.agent = Agent("host-1", [bench.driver], bench.network, SimulatedMachine())

    async def scenario(bench: Bench) -> None:
        began = time.monotonic()
        wanted = [guest(generation=number, power=power) for number, power in ((1, Power.RUNNING), (2, Power.PAUSED), (3, Power.STOPPED))]
        others = [guest(id=f"other-{number}") for number in range(50)]
        replies = await asyncio.gather(*(bench.apply(one) for one in (*wanted, *others)))
        assert [one.guest.power for one in replies[:3]] == [ObservedPower.RUNNING, ObservedPower.PAUSED, ObservedPower.STOPPED]
        assert time.monotonic() - began < 1.0

    run(scenario, bench)


def test_metadata_is_known_before_the_guest_runs_until_it_is_removed(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        assert bench.network.metadata_of is not None
        assert bench.network.metadata_of("guest-1") is None
        await bench.apply(guest())
        assert bench.network.metadata_of("guest-1") == guest().metadata
        assert await bench.ask(RemoveGuest(guest_id="guest-1")) == Done()
        assert bench.network.metadata_of("guest-1") is None

    run(scenario)


def test_a_new_agent_knows_the_guests_and_their_metadata(tmp_path: Path) -> None:
    async def first(bench: Bench) -> None:
        await bench.apply(guest())

    async def second(bench: Bench) -> None:
        (report,) = bench.reports
        assert [one.id for one in report.guests] == ["guest-1"]
        assert bench.network.metadata_of and bench.network.metadata_of("guest-1") == guest().metadata
        late = await bench.apply(guest(generation=1, power=Power.STOPPED))
        assert late.guest.power is ObservedPower.RUNNING

    run(first, Bench(tmp_path))
    run(second, Bench(tmp_path))


def test_what_is_asked_before_the_agent_knows_its_guests_waits(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.apply(guest())

    run(scenario, Bench(tmp_path))

    async def early() -> None:
        bench = Bench(tmp_path)
        asked = asyncio.create_task(bench.apply(guest(made=True, generation=6)))
        await asyncio.sleep(0)
        await bench.agent.start(bench.reports.append)
        assert (await asked).guest.generation == 6
        await bench.agent.close()

    asyncio.run(early())


def test_what_changes_by_itself_is_reported_at_once_and_alone() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.apply(guest())
        await bench.apply(guest(id="guest-2"))
        bench.driver.end("guest-1")
        report = bench.reports[-1]
        assert not report.complete
        assert [(one.id, one.power) for one in report.guests] == [("guest-1", ObservedPower.STOPPED)]

    run(scenario)


def test_complete_reports_come_again_and_again() -> None:
    async def scenario(bench: Bench) -> None:
        deadline = time.monotonic() + 5
        while len(bench.reports) < 4:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
        assert all(report.complete for report in bench.reports)

    run(scenario, Bench(period=0.01))


def test_a_slow_probe_does_not_hold_up_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, probed = Bench(), asyncio.Event()
    fast = bench.driver.probe

    async def slow() -> DriverCapabilities:
        await probed.wait()
        return await fast()

    monkeypatch.setattr(bench.driver, "probe", slow)

    async def scenario(bench: Bench) -> None:
        assert [report.capabilities for report in bench.reports] == [[]]
        probed.set()
        deadline = time.monotonic() + 5
        while len(bench.reports) < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
        assert [one.driver for one in bench.reports[-1].capabilities] == ["simulated"]

    run(scenario, bench)


def test_the_other_questions_are_answered(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        root = GuestDisk(name="root", size=1 << 30)
        await bench.apply(guest(disks=[root]))
        log = await bench.ask(ReadConsoleLog(guest_id="guest-1", lines=1))
        assert isinstance(log, ConsoleLog) and log.text == "one login: \n"
        figures = await bench.ask(ReadDiagnostics(guest_id="guest-1"))
        assert isinstance(figures, DiagnosticsReply) and figures.diagnostics.memory_maximum == 512
        snapshot = await bench.ask(Snapshot(guest_id="guest-1", destination=str(tmp_path / "snapshot.qcow2")))
        assert isinstance(snapshot, SnapshotDone) and snapshot.virtual_size == 1 << 30
        console = await bench.ask(OpenConsole(guest_id="guest-1", kind=ConsoleKind.VNC))
        assert isinstance(console, Failed) and "console" in console.reason
        missing = await bench.ask(ReadDiagnostics(guest_id="nobody"))
        assert isinstance(missing, Failed) and missing.kind == "NotFound"
        assert await bench.ask(ApplyDomain(domain=RoutingDomain(id="d"))) == DomainReply(domain_id="d", digest="digest of 0")
        report = await bench.ask(Observe())
        assert isinstance(report, ReportReply)
        assert (report.report.domains, report.report.memory_used_mib, report.report.disk_used_gib) == ({"d": "digest of 0"}, 512, 1)
        assert await bench.ask(RemoveDomain(domain_id="d")) == Done()
        assert bench.network.applied == {}

    run(scenario)


def test_a_thousand_simulated_hosts_are_cheap() -> None:
    async def scenario() -> None:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        agents = [Agent(f"host-{number}", [SimulatedDriver()], FakeNetwork(), SimulatedMachine()) for number in range(1000)]
        each = (tracemalloc.get_traced_memory()[0] - before) / 1000
        tracemalloc.stop()
        began = time.process_time()
        for agent in agents:
            await agent.start(lambda _: None)
        spent = (time.process_time() - began) / 1000
        assert each < 6000, f"{each:.0f} bytes each"
        assert spent < 0.002, f"{spent * 1e6:.0f} microseconds to start each"
        for agent in agents:
            await agent.close()

    asyncio.run(scenario())


def test_a_real_machine_has_a_size(tmp_path: Path) -> None:
    machine = RealMachine(tmp_path / "not" / "there" / "yet")
    memory, disk = machine.used([])
    assert machine.vcpus >= 1
    assert 0 < memory <= machine.memory_mib
    assert 0 <= disk <= machine.disk_gib


def test_drivers_are_found_by_name() -> None:
    assert {"qemu", "simulated"} <= set(find_drivers())
    assert load_driver("simulated") is SimulatedDriver
    with pytest.raises(NodeFailed, match="known are"):
        load_driver("abacus")


def domain(read_at: int, ports: int = 1) -> RoutingDomain:
    """As it was read then, with so many ports of the guest."""
    mine = [DomainPort(id=f"p{number}", network_id="n", mac="fa:16:3e:00:00:01", guest_id="guest-1") for number in range(ports)]
    return RoutingDomain(id="domain-1", ports=mine, read_at=read_at)


def test_of_two_words_on_a_domain_the_one_that_was_read_later_counts() -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.ask(ApplyDomain(domain=domain(20))) == DomainReply(domain_id="domain-1", digest="digest of 1")
        kept = DomainReply(domain_id="domain-1", digest="digest of 1", read_at=20)
        assert await bench.ask(ApplyDomain(domain=domain(10, 0))) == kept
        assert await bench.ask(RemoveDomain(domain_id="domain-1", read_at=19)) == kept
        assert bench.network.applied == {"domain-1": "digest of 1"}
        assert await bench.ask(ApplyDomain(domain=domain(20, 2))) == DomainReply(domain_id="domain-1", digest="digest of 2")
        # of an earlier version's word it is not said
        assert await bench.ask(ApplyDomain(domain=domain(0, 3))) == DomainReply(
            domain_id="domain-1", digest="digest of 3"
        )  # it is not said
        assert await bench.ask(RemoveDomain(domain_id="domain-1", read_at=30)) == Done()
        gone = DomainReply(domain_id="domain-1", digest="", read_at=30)
        assert await bench.ask(ApplyDomain(domain=domain(29))) == gone, "it would be left over"
        assert bench.network.applied == {}
        assert await bench.ask(ApplyDomain(domain=domain(31))) == DomainReply(domain_id="domain-1", digest="digest of 1")

    run(scenario)


def test_an_older_word_takes_no_network_from_a_guest_that_starts() -> None:
    async def scenario(bench: Bench) -> None:
        apply = bench.driver.apply

        async def start(guest: Guest) -> ObservedGuest:
            await bench.ask(ApplyDomain(domain=domain(10, 0)))  # it comes between the networks and the guest
            assert bench.network.applied == {"domain-1": "digest of 1"}
            return await apply(guest)

        bench.driver.apply = start  # type: ignore[method-assign]
        reply = await bench.ask(ApplyGuest(guest=guest(), domains=[domain(11)]))
        assert isinstance(reply, GuestReply) and reply.guest.error is None

    run(scenario)


@pytest.mark.parametrize(("has", "after"), [(2, "digest of 2"), (0, "digest of 1")])
def test_a_guest_that_comes_with_an_older_word_keeps_the_later_one_unless_that_lacks_its_ports(has: int, after: str) -> None:
    """It lacks them where numbers began anew: by a clock that was set back, in another process."""

    async def scenario(bench: Bench) -> None:
        await bench.ask(ApplyDomain(domain=domain(50, has)))
        reply = await bench.ask(ApplyGuest(guest=guest(), domains=[domain(10)]))
        assert isinstance(reply, GuestReply) and reply.guest.error is None
        assert bench.network.applied == {"domain-1": after}

    run(scenario)


def test_what_was_removed_is_remembered_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "GONE_KEPT", 3)

    async def scenario(bench: Bench) -> None:
        for number in range(5):
            assert await bench.ask(RemoveDomain(domain_id=f"d{number}", read_at=100)) == Done()
        assert list(bench.agent._gone) == ["d2", "d3", "d4"]

    run(scenario)
