"""An agent on either side of a move is killed before each thing that it does; the guest ends where it belongs, whole, and runs once.

As in test_node_kill_points, with two hosts: one request of the move is killed at step 1, 2, 3 ..., asked again, and the move goes on.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from pileus.model.guests import Guest, GuestNic, ObservedPower, Power
from pileus.model.messages import (
    ApplyGuest,
    AskMove,
    CancelMove,
    FinishIncoming,
    GuestReply,
    IncomingReady,
    MoveReply,
    NodeReply,
    NodeRequest,
    PrepareIncoming,
    RemoveGuest,
    ResumeOutgoing,
    StartOutgoing,
)
from pileus.model.moves import MoveOptions, MovePhase
from pileus.reconcile.move_keys import make_keys
from tests.driver import boot_sectors
from tests.driver import network_domains as domains
from tests.faults.node_life import Mortal, Node
from tests.faults.node_state import breaches, wrong_with
from tests.faults.test_node_kill_points import EVERY, points, reached

pytestmark = pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")

SLOW = MoveOptions(bandwidth=1 << 20)
"""Bytes a second: so slow that there is time to change one's mind."""
GIVEN_AWAY_WITHIN = 40.0


class Pair:
    """Two hosts and a guest. One request of a move is to be killed: the next of its kind, before a step."""

    def __init__(self, scratch: Path, shared: Path | None = None) -> None:
        self.source, self.destination = Node(scratch, "a", shared), Node(scratch, "b", shared)
        domain = domains.isolated(32, 1)
        guest = boot_sectors.guest(scratch, boot_sectors.COUNTING)
        port = domain.ports[0]
        nic = GuestNic(port_id=port.id, network_id=port.network_id, domain_id=domain.id, mac=port.mac)
        self.domain = domains.with_port(domain, 0, guest_id=guest.id)
        self.guest: Guest = replace(guest, nics=[nic], extra={"os_shutdown_timeout": "0"})
        self.move = ""
        self.fatal: tuple[type, int] | None = None
        self.steps: dict[type, int] = {}
        self.hit: str | None = None

    def ask(self, node: Node, request: NodeRequest, given_away: bool = False) -> NodeReply:
        """The reply, or that of another life when the one that was asked first was to be killed."""
        guest_id = self.guest.id

        async def script(mortal: Mortal) -> NodeReply:
            reply = await reached(mortal, request)
            if given_away and isinstance(reply, MoveReply):
                deadline = time.monotonic() + GIVEN_AWAY_WITHIN
                while reply.progress.phase is not MovePhase.SWITCHED:
                    assert time.monotonic() < deadline and not reply.progress.error, reply
                    await asyncio.sleep(0.01)
                    reply = await mortal.agent.handle(AskMove(migration_id=self.move, guest_id=guest_id))
                    assert isinstance(reply, MoveReply)
            return reply

        if self.fatal and isinstance(request, self.fatal[0]):
            self.hit = node.live(script, self.fatal[1]).killed
            self.fatal = None
            self.runs_once()
        outcome = node.live(script)
        self.steps[type(request)] = len(outcome.steps)
        self.runs_once()
        return outcome.result

    def runs_once(self) -> None:
        """Whatever was killed, one QEMU's guest runs at most."""

        async def script(mortal: Mortal) -> ObservedPower | None:
            return next((one.power for one in await mortal.driver.observe()), None)

        seen = [node.live(script).result for node in (self.source, self.destination)]
        assert seen.count(ObservedPower.RUNNING) <= 1, seen

    def boot(self, power: Power = Power.RUNNING) -> None:
        for wanted in dict.fromkeys([Power.RUNNING, power]):
            self.guest = replace(self.guest, power=wanted, generation=self.guest.generation + 1)
            reply = self.ask(self.source, ApplyGuest(guest=self.guest, domains=[self.domain]))
            assert isinstance(reply, GuestReply) and reply.guest.error is None, reply
            self.seen = reply.guest

    def begin(self, options: MoveOptions | None = None, given_away: bool = True) -> None:
        """Up to where the source has given the guest away, or is sending it."""
        self.move = str(uuid4())
        keys = make_keys(self.move, time.time())
        prepare = PrepareIncoming(
            migration_id=self.move,
            guest=self.guest,
            domains=[self.domain],
            copy_disks=self.source.shared is None,
            address="127.0.0.1",
            keys=keys.destination,
            machine=self.seen.machine,
            cpu_model=self.seen.cpu_model,
        )
        ready = self.ask(self.destination, prepare)
        assert isinstance(ready, IncomingReady), ready
        start = StartOutgoing(
            migration_id=self.move, guest_id=self.guest.id, target=ready.target, options=options or MoveOptions(), keys=keys.source
        )
        reply = self.ask(self.source, start, given_away)
        assert isinstance(reply, MoveReply) and not reply.progress.error, reply

    def end(self) -> None:
        """The destination has it, the source forgets it; then they are the other way round."""
        self.guest = replace(self.guest, generation=self.guest.generation + 1)
        reply = self.ask(self.destination, FinishIncoming(migration_id=self.move, guest=self.guest))
        assert isinstance(reply, GuestReply) and (reply.guest.error, reply.guest.migration) == (None, ""), reply
        assert reply.guest.power.value == self.guest.power.value
        self.ask(self.source, RemoveGuest(guest_id=self.guest.id))
        assert wrong_with(self.source, None, self.domain) == []
        assert wrong_with(self.destination, self.guest, self.domain) == []
        assert breaches([(self.source, None, self.domain), (self.destination, self.guest, self.domain)]) == []
        self.source, self.destination = self.destination, self.source

    def stays(self) -> None:
        """The source has it as before, the destination nothing."""
        reply = self.ask(self.source, ApplyGuest(guest=self.guest, domains=[self.domain]))
        assert isinstance(reply, GuestReply) and reply.guest.error is None, reply
        assert reply.guest.power.value == self.guest.power.value and reply.guest.migration == ""
        assert wrong_with(self.source, self.guest, self.domain) == []
        assert wrong_with(self.destination, None, self.domain) == []
        assert breaches([(self.source, self.guest, self.domain), (self.destination, None, self.domain)]) == []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def pair(place: Path) -> Iterator[Pair]:
    made = Pair(place)
    yield made
    leave(made)


@pytest.fixture
def sharing(place: Path) -> Iterator[Pair]:
    made = Pair(place, place / "shared")
    yield made
    leave(made)


def leave(pair: Pair) -> None:
    async def script(mortal: Mortal) -> None:
        for guest in mortal.driver.guests():
            await mortal.driver.remove(guest.id)
        await mortal.network.destroy()

    for node in (pair.source, pair.destination):
        node.live(script)
        assert domains.left_on_host(node.tag) == []


def at_each_step(pair: Pair, verb: type, story: Callable[[Pair], None], index: int) -> None:
    """Play a story again and again, with a kill at another step of one request each time."""
    story(pair)  # to count
    count = pair.steps[verb]
    for step in points(count, index)[:: 1 if EVERY else 2]:
        pair.fatal = (verb, step)
        try:
            story(pair)
        except AssertionError as error:
            raise AssertionError(f"{verb.__name__} killed before step {step}, {pair.hit}: {error}") from None
    if figures := os.environ.get("PILEUS_FIGURES"):
        with Path(figures).open("a") as file:
            file.write(f"{os.environ.get('PYTEST_CURRENT_TEST', '')}: {count} steps\n")


def moved(pair: Pair) -> None:
    pair.begin()
    pair.end()


def cancelled(pair: Pair) -> None:
    pair.begin(SLOW, given_away=False)
    for node in (pair.source, pair.destination):
        reply = pair.ask(node, CancelMove(migration_id=pair.move, guest_id=pair.guest.id))
        assert isinstance(reply, MoveReply), reply
        if node is pair.source and reply.progress.phase is MovePhase.SWITCHED:  # it was too late: it is given back, as by a control plane
            pair.ask(pair.source, ResumeOutgoing(migration_id=pair.move, guest_id=pair.guest.id))
    pair.stays()


def resumed(pair: Pair) -> None:
    pair.begin()
    pair.ask(pair.destination, CancelMove(migration_id=pair.move, guest_id=pair.guest.id))
    reply = pair.ask(pair.source, ResumeOutgoing(migration_id=pair.move, guest_id=pair.guest.id))
    assert isinstance(reply, GuestReply) and reply.guest.migration == "", reply
    pair.stays()


@pytest.mark.parametrize("verb", [PrepareIncoming, StartOutgoing, FinishIncoming])
@pytest.mark.parametrize("power", [Power.RUNNING, Power.STOPPED, Power.SUSPENDED])
def test_a_move_of_a_guest(pair: Pair, verb: type, power: Power) -> None:
    pair.boot(power)
    at_each_step(pair, verb, moved, len(verb.__name__) + len(power))


def test_a_guest_that_is_off_is_given_away_once_its_disks_are_sent_though_nobody_has_noted_that(pair: Pair) -> None:
    """The QEMU that carried its disks has ended as it was to; the next life finds none."""
    pair.boot(Power.STOPPED)
    moved(pair)
    count = pair.steps[StartOutgoing]
    for step in (count - 2, count - 1, count):
        pair.fatal = (StartOutgoing, step)
        moved(pair)


@pytest.mark.parametrize("verb", [PrepareIncoming, StartOutgoing, FinishIncoming])
def test_a_live_move_between_hosts_that_share_disks(sharing: Pair, verb: type) -> None:
    sharing.boot()
    at_each_step(sharing, verb, moved, len(verb.__name__))


@pytest.mark.parametrize(("verb", "story"), [(CancelMove, cancelled), (ResumeOutgoing, resumed)])
def test_a_move_that_does_not_come_about(pair: Pair, verb: type, story: Callable[[Pair], None]) -> None:
    pair.boot()
    at_each_step(pair, verb, story, 1)


def test_a_guest_that_is_given_back_runs_though_its_agent_was_killed_before_it_was_set_going(pair: Pair) -> None:
    pair.boot()
    for step in range(1, 5):
        pair.fatal = (ResumeOutgoing, step)
        resumed(pair)


def test_a_record_that_was_written_halfway_is_gone_after_the_next_start(pair: Pair) -> None:
    pair.boot(Power.STOPPED)
    for name in ("guest.json.partial", "move.json.partial"):
        (pair.source.state / "guests" / pair.guest.id / name).write_text("{")
    pair.runs_once()
    assert wrong_with(pair.source, pair.guest, pair.domain) == []
