"""A host's agent is killed before each thing that it does to the world; started again and asked again, it does the rest, once.

For each pair of operations (there and back): killed before step 1, 2, 3 ... until there are fewer steps. Each time the next life is asked
the same, as a control plane does that got no answer: it must end as asked, leave the host whole with nothing doubled, and asking once more
must change nothing. `PILEUS_EVERY_STEP=1` kills at every step; without it, at some of each operation.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from pileus.core.servers import REACHED
from pileus.model.guests import Guest, GuestNic, Power
from pileus.model.messages import (
    ApplyDomain,
    ApplyGuest,
    DomainReply,
    Done,
    GuestReply,
    NodeReply,
    NodeRequest,
    RemoveDomain,
    RemoveGuest,
    Snapshot,
    SnapshotDone,
)
from pileus.model.routing import FloatingAddress, RoutingDomain
from pileus.node.network.linux import digest_of
from tests.driver import boot_sectors
from tests.driver import network_domains as domains
from tests.faults.node_life import Mortal, Node
from tests.faults.node_state import changed, fingerprint, wrong_with

pytestmark = pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")

EVERY = bool(os.environ.get("PILEUS_EVERY_STEP"))
SOME = 4
"""Steps of each operation at which it is killed where not all are tried."""
REACHES_WITHIN = 30.0


class Desired(msgspec.Struct, frozen=True):
    """What a host is to have."""

    guest: Guest | None
    domain: RoutingDomain | None


class Change(msgspec.Struct, frozen=True):
    """A request, and what the host is to have after it."""

    request: NodeRequest
    desired: Desired


async def reached(mortal: Mortal, request: NodeRequest) -> NodeReply:
    """Ask until it is as asked: a guest that is to shut down first takes its time."""
    deadline = asyncio.get_running_loop().time() + REACHES_WITHIN
    while True:
        reply = await mortal.ask(request)
        if not isinstance(request, ApplyGuest) or not isinstance(reply, GuestReply) or reply.guest.error:
            return reply
        if reply.guest.generation >= request.guest.generation:
            return reply
        assert asyncio.get_running_loop().time() < deadline, reply
        await asyncio.sleep(0.02)


def ended_as_asked(request: NodeRequest, reply: NodeReply) -> None:
    match request:
        case ApplyGuest(guest=guest):
            assert isinstance(reply, GuestReply), reply
            seen = reply.guest
            assert (seen.error, seen.power) == (None, REACHED[guest.power]), seen
            assert (seen.reboots_hard, seen.reboots_soft, seen.builds) == (guest.reboots_hard, guest.reboots_soft, guest.builds)
        case ApplyDomain(domain=domain):
            assert isinstance(reply, DomainReply) and reply.digest == digest_of(domain), reply
        case Snapshot(destination=destination):
            assert isinstance(reply, SnapshotDone) and Path(destination).exists(), reply
        case _:
            assert isinstance(reply, Done), reply


def do(node: Node, change: Change) -> list[str]:
    """Ask a new life, which must do it and leave the host whole; asked again it changes nothing. Returns the steps that it took."""

    async def script(mortal: Mortal) -> tuple[NodeReply, list[str], NodeReply]:
        reply = await reached(mortal, change.request)
        mortal.steps.rest()
        before = await asyncio.to_thread(fingerprint, node)
        again = await reached(mortal, change.request)
        return reply, changed(before, await asyncio.to_thread(fingerprint, node)), again

    outcome = node.live(script)
    reply, differs, again = outcome.result
    ended_as_asked(change.request, reply)
    assert differs == [], f"asked a second time it changed {differs}"
    ended_as_asked(change.request, again)
    assert wrong_with(node, change.desired.guest, change.desired.domain) == []
    return outcome.steps


def killed(node: Node, change: Change, fatal: int, from_start: bool = False) -> str | None:
    """The step before which a life was killed that was asked for a change; None when it had fewer."""

    async def script(mortal: Mortal) -> None:
        await reached(mortal, change.request)

    return node.live(script, fatal, from_start).killed


def points(count: int, index: int) -> list[int]:
    """At which steps to kill: all, or some, from the first to the one after the last, which is not there."""
    if EVERY or count <= SOME:
        return list(range(1, count + 2))
    return sorted({1 + (count - 1) * one // SOME + index % max(1, count // SOME) for one in range(SOME)} & set(range(1, count + 1)))


def there_and_back(node: Node, forth: Callable[[], Change], back: Callable[[], Change]) -> None:
    """Kill both at each step. Each is asked for anew, as another generation, but for the repetitions after a kill."""
    for _ in range(2):  # the second time there is what stays, such as a network
        counts = [len(do(node, one)) for one in (forth(), back())]
    assert min(counts) >= 2, counts
    plans = [points(count, index) for index, count in enumerate(counts)]
    hit = 0
    while any(plans):
        for plan, make in zip(plans, (forth, back), strict=True):
            change = make()
            step = killed(node, change, plan.pop(0)) if plan else None
            hit += step is not None
            try:
                do(node, change)
            except AssertionError as error:
                raise AssertionError(f"killed before {step}: {error}") from None
    assert hit >= SOME
    if figures := os.environ.get("PILEUS_FIGURES"):
        with Path(figures).open("a") as file:
            file.write(f"{os.environ.get('PYTEST_CURRENT_TEST', '')}: {counts} steps, killed at {hit}\n")


# -- what is asked for -----------------------------------------------------------------------------------------------------------------


class Case:
    """A host with a guest on a network with a router, and the changes that are asked of it."""

    def __init__(self, scratch: Path) -> None:
        self.node = Node(scratch)
        domain = domains.isolated(31)
        guest = boot_sectors.guest(scratch, boot_sectors.DEAF)
        port = domain.ports[0]
        nic = GuestNic(port_id=port.id, network_id=port.network_id, domain_id=domain.id, mac=port.mac)
        self.domain = domains.with_port(domain, 0, guest_id=guest.id)
        documents = {"openstack/latest/meta_data.json": "{}"}
        self.guest = replace(guest, nics=[nic], config_drive=True, metadata=documents, extra={"os_shutdown_timeout": "0"})

    def change(self, domain: RoutingDomain | None = None, **changes: Any) -> Change:
        """The guest as another generation."""
        self.guest = replace(self.guest, generation=self.guest.generation + 1, **changes)
        wanted = domain or self.domain
        return Change(ApplyGuest(guest=self.guest, domains=[wanted]), Desired(self.guest, wanted))

    def domain_change(self, domain: RoutingDomain) -> Change:
        """The domain as something else."""
        return Change(ApplyDomain(domain=domain), Desired(self.guest, domain))


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made

    async def leave(mortal: Mortal) -> None:
        for guest in mortal.driver.guests():
            await mortal.driver.remove(guest.id)
        await mortal.network.destroy()

    made.node.live(leave)
    assert domains.left_on_host(made.node.tag) == []


@pytest.fixture
def begun(case: Case) -> Case:
    """The guest runs."""
    do(case.node, case.change())
    return case


def test_create_and_delete(case: Case) -> None:
    def delete() -> Change:
        return Change(RemoveGuest(guest_id=case.guest.id), Desired(None, case.domain))

    there_and_back(case.node, case.change, delete)


@pytest.mark.parametrize("power", [Power.STOPPED, Power.PAUSED, Power.SUSPENDED])
def test_another_power_and_running_again(begun: Case, power: Power) -> None:
    there_and_back(begun.node, lambda: begun.change(power=power), lambda: begun.change(power=Power.RUNNING))


def test_soft_and_hard_reboots(begun: Case) -> None:
    there_and_back(
        begun.node,
        lambda: begun.change(reboots_soft=begun.guest.reboots_soft + 1),
        lambda: begun.change(reboots_hard=begun.guest.reboots_hard + 1),
    )


def test_a_rebuild_and_a_resize(begun: Case) -> None:
    def resized() -> Change:
        larger = [replace(disk, size=disk.size + (1 << 20)) for disk in begun.guest.disks]
        return begun.change(reboots_soft=begun.guest.reboots_soft + 1, memory_mib=begun.guest.memory_mib + 8, disks=larger)

    there_and_back(begun.node, lambda: begun.change(builds=begun.guest.builds + 1), resized)


def test_a_snapshot_of_a_running_and_of_a_stopped_guest(begun: Case) -> None:
    made, place = 0, begun.node.state / "snapshots"

    def copied() -> Change:
        nonlocal made
        made += 1
        file = place / f"{made}.qcow2"
        return Change(Snapshot(guest_id=begun.guest.id, destination=str(file)), Desired(begun.guest, begun.domain))

    there_and_back(begun.node, copied, copied)
    do(begun.node, begun.change(power=Power.STOPPED))
    there_and_back(begun.node, copied, copied)
    assert sorted(os.listdir(place)) == sorted(f"{number + 1}.qcow2" for number in range(made))


def test_a_network_appears_and_goes(case: Case) -> None:
    def gone() -> Change:
        return Change(RemoveDomain(domain_id=case.domain.id), Desired(None, None))

    there_and_back(case.node, lambda: Change(ApplyDomain(domain=case.domain), Desired(None, case.domain)), gone)


def test_a_port_comes_and_goes(begun: Case) -> None:
    more = domains.port(begun.domain.networks[0], 40, begun.domain.security_groups)
    wider = replace(begun.domain, ports=[*begun.domain.ports, more])
    there_and_back(begun.node, lambda: begun.domain_change(wider), lambda: begun.domain_change(begun.domain))


def test_rules_of_security_groups_change(begun: Case) -> None:
    changed_rules = domains.with_rules(begun.domain, *domains.ANY)
    there_and_back(begun.node, lambda: begun.domain_change(changed_rules), lambda: begun.domain_change(begun.domain))


def test_a_router_with_a_floating_address_comes_and_goes(begun: Case) -> None:
    net = begun.domain.networks[0]
    inside = replace(net, subnets=[replace(net.subnets[0], gateway_ip="10.31.0.1", gateway_here=True)])
    router = domains.router([inside], "public", f"{begun.node.public}.10/24", f"{begun.node.public}.1")
    router = replace(router, floating=[FloatingAddress(floating_ip=f"{begun.node.public}.50", fixed_ip="10.31.0.11")])
    routed = replace(begun.domain, networks=[inside], routers=[router], uplinks=[begun.node.uplink])
    there_and_back(begun.node, lambda: begun.domain_change(routed), lambda: begun.domain_change(begun.domain))


def test_the_start_of_an_agent_that_finds_a_guest(begun: Case) -> None:
    change = Change(ApplyGuest(guest=begun.guest, domains=[begun.domain]), Desired(begun.guest, begun.domain))
    step = 0
    while killed(begun.node, change, step := step + 1, from_start=True):
        do(begun.node, change)
    assert step > 2
