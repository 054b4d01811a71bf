"""From any state that requests, crashes, failures and late reports can bring about, a server's steps come to an end in a settled state."""

from pathlib import PurePath
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pileus.api.compute import server_actions as api
from pileus.api.compute.server_rebuild import REBUILD, SNAPSHOT
from pileus.core.guests import OFF, Asked, crossed, guest_of
from pileus.core.servers import Next, derive, followed, is_stale, next_step, observe
from pileus.model.errors import Conflict
from pileus.model.guests import Guest, ObservedGuest, ObservedPower, Power
from pileus.model.servers import Server, ServerFault, ServerFlavor, Status

RULES = [api.START, api.STOP, api.PAUSE, api.UNPAUSE, api.SUSPEND, api.RESUME, api.SOFT, api.HARD, REBUILD]
STARTING = (api.START, api.SOFT, api.HARD, REBUILD)
MOST_STEPS = 12
TRANSITIONAL = (Status.BUILD, Status.REBOOT, Status.HARD_REBOOT, Status.REBUILD)
FRESH = derive(
    Server(
        id="s1", project_id="p", user_id="u", name="one", hostname="one", vcpus=1, memory_mib=64, generation=1,
        flavor=ServerFlavor(id="1", name="tiny", vcpus=1, ram=64, disk=1),
    )
)  # fmt: skip


class Node:
    """A faithful host of one guest: what was asked of it last, what runs."""

    def __init__(self) -> None:
        self.asked: Guest | None = None
        self.applied: Guest | None = None
        self.here = ObservedGuest(id="s1", power=ObservedPower.ABSENT)
        self.may_start = True  # whether somebody wants an ended guest to run again

    def apply(self, guest: Guest, seen: ObservedGuest | None, fails: bool) -> ObservedGuest:
        if self.asked is not None and guest.generation < self.asked.generation:
            return self.here
        before = Asked(wanted=self.asked, applied=self.applied) if self.asked and self.applied else None
        self.asked, guest = guest, crossed(guest, before, self.here, seen)
        self.applied = guest
        if fails:
            return msgspec.structs.replace(self.here, error="the host could not do it")
        started = self.here.power in OFF and guest.power != Power.STOPPED
        assert self.may_start or not started, f"a guest that ended by itself was started again by {guest}"
        self.here = ObservedGuest(
            id="s1", power=ObservedPower(guest.power.value), generation=guest.generation, reboots_soft=guest.reboots_soft,
            reboots_hard=guest.reboots_hard, builds=guest.builds,
        )  # fmt: skip
        return self.here


class Life(RuleBasedStateMachine):
    """A server with its owner, its node, and messages that come late or are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.node = Node()
        self.server = FRESH
        self.reports: list[tuple[float, ObservedGuest]] = []

    def save(self, grows: bool = True, **changes: Any) -> None:
        """As the store does."""
        self.now += 0.01
        generation = self.server.generation + grows
        self.server = derive(msgspec.structs.replace(self.server, updated_at=self.now, generation=generation, **changes))

    def observed(self, seen: ObservedGuest, at: float) -> None:
        if not is_stale(self.server, seen, at):
            self.now += 0.01
            self.server = derive(observe(self.server, seen, self.now))

    # the owner

    @precondition(lambda self: self.server.deleted_at is None)
    @rule(which=st.sampled_from(RULES))
    def acts(self, which: api.Rule) -> None:
        try:
            api.check_state(self.server, which)
        except Conflict:
            return
        self.save(**{"fault": None, **which.change(self.server)})
        if which in STARTING:
            self.node.may_start = True

    @precondition(lambda self: self.server.deleted_at is None)
    @rule()
    def renames(self) -> None:
        self.save(name="other")

    @precondition(lambda self: self.server.deleted_at is None)
    @rule()
    def asks_for_an_image(self) -> None:
        try:
            api.check_state(self.server, SNAPSHOT)
        except Conflict:
            return
        assert self.server.pending_snapshot is None, "the image that was asked for before would wait for ever"
        self.save(grows=False, pending_snapshot="image")

    @precondition(lambda self: self.server.deleted_at is None)
    @rule(error=st.booleans())
    def state_is_reset(self, error: bool) -> None:
        self.save(grows=False, fault=ServerFault(code=500, message="by an administrator", created_at=self.now) if error else None)

    @precondition(lambda self: self.server.deleted_at is None)
    @rule()
    def deletes(self) -> None:
        self.save(deleted_at=self.now)

    # the world

    @precondition(lambda self: self.node.here.power not in OFF)
    @rule(power=st.sampled_from(sorted(OFF)))
    def guest_ends_by_itself(self, power: ObservedPower) -> None:
        here = self.node.here
        self.node.here = msgspec.structs.replace(here, power=power)
        pending = (here.reboots_soft, here.reboots_hard, here.builds) != (
            self.server.reboots_soft, self.server.reboots_hard, self.server.builds,
        )  # fmt: skip
        unfinished = self.node.asked is not None and here.generation < self.node.asked.generation
        self.node.may_start = pending or unfinished

    @rule()
    def node_reports(self) -> None:
        if self.node.asked is not None:
            self.reports.append((self.now, self.node.here))

    @precondition(lambda self: self.reports)
    @rule()
    def a_report_comes(self) -> None:
        at, seen = self.reports.pop(0)
        self.observed(seen, at)

    @precondition(lambda self: self.reports)
    @rule()
    def a_report_is_lost(self) -> None:
        self.reports.pop(0)

    @rule(seconds=st.sampled_from([0.1, 10.0]))
    def time_passes(self, seconds: float) -> None:
        if not self.reports:  # they are on their way for less than LOST_AFTER
            self.now += seconds

    # the reconciler

    @rule(fails=st.booleans(), reply_is_lost=st.booleans(), late=st.booleans())
    def a_step(self, fails: bool = False, reply_is_lost: bool = False, late: bool = False) -> None:
        """`late`: the decision is made on what was known before a report came."""
        server = self.server
        match next_step(server):
            case Next.PLACE:
                changes = {"fault": ServerFault(code=500, message="no valid host", created_at=self.now)} if fails else {"host": "h1"}
                self.save(grows=False, **changes)
            case Next.APPLY:
                guest = guest_of(server, [], PurePath("/images"), {})
                reply = self.node.apply(guest, server.observed, fails)
                if late and self.reports:
                    self.a_report_comes()
                if reply_is_lost:
                    return
                if reply.error:
                    if self.server.generation == server.generation:
                        self.save(grows=False, fault=ServerFault(code=500, message=reply.error, created_at=self.now))
                    return
                news = self.server.observed if self.server.observed != server.observed else None
                if news is None or news.generation < reply.generation:
                    self.observed(reply, self.now)
            case Next.FOLLOW:
                assert server.observed is not None
                self.save(power=followed(server.observed.power))
            case Next.SNAPSHOT:
                self.save(grows=False, pending_snapshot=None)
            case Next.REMOVE:
                self.node.here, self.node.asked = ObservedGuest(id="s1", power=ObservedPower.ABSENT), None
                if not reply_is_lost:
                    self.server = derive(msgspec.structs.replace(server, removed_at=self.now, observed=None))
            case Next.NOTHING:
                pass

    # what is promised

    @invariant()
    def error_says_why(self) -> None:
        assert self.server.status != Status.ERROR or (self.server.fault is not None and self.server.fault.message)

    @invariant()
    def something_is_to_be_done_while_a_task_is_shown(self) -> None:
        assert self.server.task_state is None or next_step(self.server) != Next.NOTHING

    def settle(self) -> None:
        for _ in range(MOST_STEPS):
            if self.server.next_step == Next.NOTHING:
                break
            self.a_step()
        assert self.server.next_step == Next.NOTHING, f"not settled after {MOST_STEPS} steps: {self.server}"

    def teardown(self) -> None:
        while self.reports:
            self.a_report_comes()
        self.settle()
        if self.node.asked is not None:  # the periodic report, long after
            self.now += 60
            self.observed(self.node.here, self.now)
        self.settle()
        server = self.server
        assert server.task_state is None and server.status not in TRANSITIONAL
        if server.removed_at is None and server.fault is None:
            assert server.observed is not None and server.observed.power == self.node.here.power
            assert self.node.here.power.value == server.power.value or (server.power == Power.STOPPED and self.node.here.power in OFF)
            self.can_be_started_again()
        if server.removed_at is None:
            self.deletes()
            self.settle()
        assert self.server.status == Status.DELETED and self.node.asked is None

    def can_be_started_again(self) -> None:
        wanted = {Status.SHUTOFF: api.START, Status.PAUSED: api.UNPAUSE, Status.SUSPENDED: api.RESUME}.get(self.server.status, api.HARD)
        self.acts(wanted)
        self.settle()
        assert self.server.status == Status.ACTIVE


Life.TestCase.settings = settings(max_examples=300, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase


@pytest.mark.parametrize("which", [api.HARD, REBUILD, api.STOP], ids=["hard reboot", "rebuild", "stop"])
def test_a_server_in_error_gets_out_of_it(which: api.Rule) -> None:
    life = Life()
    life.settle()
    life.acts(api.SOFT)
    life.a_step(fails=True)
    assert life.server.status == Status.ERROR and life.server.fault is not None
    life.acts(which)
    life.settle()
    assert life.server.status == (Status.SHUTOFF if which is api.STOP else Status.ACTIVE) and life.server.fault is None


def test_a_guest_that_shuts_down_while_its_server_is_renamed_stays_down() -> None:
    life = Life()
    life.settle()
    life.renames()
    life.guest_ends_by_itself(ObservedPower.STOPPED)
    life.settle()
    assert life.server.status == Status.SHUTOFF and life.node.here.power == ObservedPower.STOPPED


def test_an_error_in_an_old_report_does_not_stop_what_was_asked_since() -> None:
    life = Life()
    life.settle()
    life.acts(api.SOFT)
    life.a_step(fails=True)
    life.reports.append((life.now, msgspec.structs.replace(life.node.here, error="the host could not do it")))
    life.acts(api.HARD)
    life.a_report_comes()
    life.settle()
    assert life.server.status == Status.ACTIVE and life.server.fault is None
