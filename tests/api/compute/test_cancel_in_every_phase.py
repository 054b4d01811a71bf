"""A move is held in each phase, and everything that may end it is asked for: the answer is Nova's, and the end is one of those named here.

As in test_delete_in_every_state a phase is held by its step, which fails until it is let go on. Whatever was asked for then, the server
ends on one host, with one copy of its guest and all that it holds in one place, and `verify` finds nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.model.migrations import MigrationStep
from pileus.reconcile.availability import Availability
from tests.api.compute.losing import Losing, looks_often  # noqa: F401 a fixture
from tests.api.compute.moving import Moving
from tests.api.compute.test_delete_in_every_state import gone, hold
from tests.api.compute.test_server_migrate import fill
from tests.api.harness import TestCloud

SENDING, ABORTED, WAITS = "sending", "aborted", "waits"
"""More phases: a live migration that never ends, one that was aborted and is held as it is undone, a cold one that waits for a word."""
BEFORE = (MigrationStep.PLACE, MigrationStep.PREPARE, MigrationStep.SEND)
OFF = (MigrationStep.PLACE, MigrationStep.STOP, MigrationStep.PREPARE, MigrationStep.SEND, MigrationStep.FINISH)
BACK = (MigrationStep.REVERT, MigrationStep.RESUME)
LIVE = (*BEFORE, SENDING, ABORTED, MigrationStep.FINISH, MigrationStep.CLEAN)
COLD = (*OFF, WAITS, MigrationStep.CLEAN, *BACK)
SENT_BACK = (MigrationStep.REVERT, *OFF[1:], MigrationStep.CLEAN)
PHASES = [
    *(("live", one) for one in LIVE),
    *(("migrate", one) for one in COLD),
    *(("resize", one) for one in (*OFF[1:], WAITS)),
    *(("sent back", one) for one in SENT_BACK),
]
"""Kind and phase. "sent back": a cold migration that is reverted where the disks are shared, which is a move of its own."""
WORDS = ["abort", "abort before 2.65", "force_complete", "confirmResize", "revertResize", "delete", "reset"]


@pytest.fixture
def moving(cloud: TestCloud, request: pytest.FixtureRequest) -> Iterator[Moving]:
    """Two hosts; where servers are sent back, they share the disks."""
    made = Moving(cloud, shared_disks=request.node.callspec.params.get("kind") == "sent back")
    yield made
    made.close()


class Held:
    """A server whose move is held in a phase; `release` lets it go on."""

    def __init__(self, moving: Moving, kind: str, phase: str) -> None:
        self.moving = moving
        self.phase, self.kind = phase, kind
        never_ends = phase in (SENDING, ABORTED)
        self.server = moving.placed("dirty" if never_ends else "one", "dirty" if never_ends else "1")
        self.source, self.destination = str(moving.record(self.server).host), moving.other(self.server)
        self.release = self._hold() if kind != "sent back" else lambda: None
        self._begin(kind)
        if kind == "sent back":
            moving.wait(self.server, "VERIFY_RESIZE")
            self.release = self._hold()
            assert moving.act(self.server, "revertResize").status == 202
        elif phase in (*BACK, MigrationStep.CLEAN) and kind != "live":
            moving.wait(self.server, "VERIFY_RESIZE")
            word = "confirmResize" if phase is MigrationStep.CLEAN else "revertResize"
            assert moving.act(self.server, word).status in (202, 204)
        if phase == WAITS:
            moving.wait(self.server, "VERIFY_RESIZE")
        elif never_ends:
            moving.until(lambda: moving.migration(self.server).progress, "it is being sent")
            if phase == ABORTED:
                assert self.ask("abort") == 202
                moving.until(lambda: moving.migration(self.server).step == MigrationStep.UNDO, "it is being undone")
        else:
            moving.until(lambda: moving.migration(self.server).step == phase, phase)
        self.number = moving.migration(self.server).number

    def _hold(self) -> Callable[[], None]:
        step = MigrationStep.UNDO if self.phase == ABORTED else self.phase
        return hold(self.moving, "migrations", step) if isinstance(step, MigrationStep) else lambda: None

    def _begin(self, kind: str) -> None:
        moving, server = self.moving, self.server
        if kind == "live":
            answer = moving.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"}, who="admin")
        elif kind in ("migrate", "sent back"):
            answer = moving.act(server, "migrate", who="admin")
        else:
            fill(moving, self.source)
            answer = moving.act(server, "resize", {"flavorRef": "2"})
        assert answer.status == 202, answer

    def ask(self, word: str) -> int:
        """The status of the answer."""
        return ask(self.moving, self.server, word)

    def ends_at(self, host: str) -> None:
        """The server runs there, once, and nothing is left of the move."""
        moving = self.moving
        moving.until(lambda: moving.migration(self.server).step == "done", "the move is over")
        moving.wait(self.server)
        assert moving.record(self.server).host == host
        assert moving.guests(self.server) == {host: "running"}
        assert (set(moving.shares(self.server)), moving.shares(moving.migration(self.server).id)) == ({host}, {})
        assert moving.port_hosts(self.server) == {(host, None)}

    def ends_by_itself(self) -> None:
        """As if nothing had been asked for; what waits for a word is confirmed."""
        if self.phase in (ABORTED, *BACK) or self.kind == "sent back":
            self.ends_at(self.source)
            return
        if self.phase == SENDING:
            assert self.ask("force_complete") == 202
        if self.moving.record(self.server).resize is not None:
            self.moving.wait(self.server, "VERIFY_RESIZE")
            assert self.ask("confirmResize") == 204
        self.ends_at(self.destination)


def ask(moving: Moving, server: str, word: str) -> int:
    """The status of the answer."""
    if word == "evacuate":
        return int(moving.act(server, word, {}, who="admin", version="2.94").status)
    path = f"/servers/{server}/migrations/{moving.migration(server).number}"
    if word.startswith("abort"):
        version = "2.64" if word.endswith("2.65") else "2.104"
        return int(moving.call("DELETE", path, who="admin", version=version).status)
    if word == "force_complete":
        return int(moving.call("POST", f"{path}/action", {word: None}, who="admin").status)
    if word == "delete":
        return int(moving.call("DELETE", f"/servers/{server}").status)
    if word == "reset":
        return int(moving.act(server, "os-resetState", {"state": "error"}, who="admin").status)
    return int(moving.act(server, word).status)


def answer(kind: str, phase: str, word: str) -> int:
    """What Nova answers: 409 where the server is in no state for it, 400 where the migration is in none."""
    if word in ("delete", "reset"):
        return 204 if word == "delete" else 202
    if word in ("confirmResize", "revertResize"):
        return (204 if word == "confirmResize" else 202) if phase == WAITS else 409
    if kind != "live" or phase is MigrationStep.CLEAN:
        return 409
    running = phase in (SENDING, MigrationStep.SEND)
    return 202 if running or (word == "abort" and phase in BEFORE) else 400


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(("kind", "phase"), PHASES)
def test_whatever_is_asked_for_while_it_moves(moving: Moving, kind: str, phase: str, word: str) -> None:
    held = Held(moving, kind, phase)
    status = held.ask(word)
    assert status == answer(kind, phase, word), moving.told()
    if word == "delete":
        moving.until(lambda: moving.record(held.server).deleted_at is not None, "it is to go")
        held.release()
        gone(moving, held.server)
    elif word == "reset":
        _reset(moving, held)
    else:
        held.release()
        _ended(moving, held, word, status)
    moving.verified()
    moving.until(lambda: not moving.engine.failing, "nothing fails any more")


def _ended(moving: Moving, held: Held, word: str, status: int) -> None:
    if status >= 400:
        held.ends_by_itself()
    elif word.startswith("abort"):
        held.ends_at(held.source)
        assert moving.migration(held.server).status == "cancelled" and "aborted" in moving.migration(held.server).error
        assert held.ask("abort") == 409
    elif word == "revertResize":
        held.ends_at(held.source)
        assert moving.migration(held.server).status == "reverted"
    else:
        held.ends_at(held.destination)


def _reset(moving: Moving, held: Held) -> None:
    """The server is in ERROR, with its cause, and moves on as it would have; when that is taken back, it is as any other."""
    shown: dict[str, Any] = moving.show(held.server)
    assert shown["status"] == "ERROR" and "by an administrator" in shown["fault"]["message"]
    held.release()
    if held.phase == SENDING:
        moving.cloud.run(moving.drivers[held.source].moves.force(moving.migration(held.server).id, held.server))
    moving.until(lambda: moving.record(held.server).migration is None, "the move lets go of it")
    assert moving.act(held.server, "os-resetState", {"state": "active"}, who="admin").status == 202
    held.phase = held.phase if held.phase != SENDING else MigrationStep.FINISH
    held.ends_by_itself()


@pytest.fixture
def losing(tmp_path: Path) -> Iterator[Losing]:
    """Three hosts that share disks, of which none is fenced."""
    cloud = TestCloud(evacuate="none")
    made = Losing(cloud, tmp_path)
    yield made
    made.close()
    cloud.close()


@pytest.mark.parametrize("word", [*WORDS, "evacuate"])
@pytest.mark.parametrize("phase", [MigrationStep.PLACE, MigrationStep.CLEAN])
def test_whatever_is_asked_for_while_it_is_evacuated(losing: Losing, phase: MigrationStep, word: str) -> None:
    """Before there is a host for it, and while what its lost host has of it is still to be removed."""
    server = losing.placed()
    lost = str(losing.record(server).host)
    others = [name for name in losing.names if name != lost]
    for host in others:
        losing.service(host, status="disabled" if phase is MigrationStep.PLACE else "enabled")
    losing.lose(lost, power_off=False)
    assert ask(losing, server, "evacuate") == 200
    losing.until(lambda: losing.evacuation(server).step == phase, phase)  # type: ignore[union-attr]
    if phase is MigrationStep.CLEAN:
        losing.wait(server)
    asked = ask(losing, server, word)
    wanted = {"delete": 204, "reset": 202, "evacuate": 409 if phase is MigrationStep.PLACE else 400}
    assert asked == wanted.get(word, 409), losing.told()
    if word == "reset":
        assert losing.act(server, "os-resetState", {"state": "active"}, who="admin").status == 202
    for host in others:
        losing.service(host, status="enabled")
    if word == "delete":
        losing.until(lambda: losing.record(server).removed_at, "it is gone, with its host still down")
        losing.regain(lost)
        losing.until(lambda: losing.guests(server) == {}, "nothing is left of it")
    else:
        there = losing.elsewhere(server, lost)
        losing.regain(lost)
        losing.until(lambda: losing.guests(server) == {there: "running"}, "one copy is left")
    losing.until(lambda: losing.evacuation(server).step == "done", "the evacuation is over")  # type: ignore[union-attr]
    losing.verified()
    losing.until(lambda: not losing.engine.failing, "nothing fails any more")


def test_a_server_that_was_deleted_before_it_was_placed_leaves_nothing_on_its_host(losing: Losing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its host comes back before anybody has looked at the evacuation again."""

    async def not_yet(*_: object) -> bool:
        return False

    monkeypatch.setattr(Availability, "_evacuate", not_yet)
    server = losing.placed()
    lost = str(losing.record(server).host)
    losing.lose(lost, power_off=False)
    assert ask(losing, server, "evacuate") == 200
    losing.until(lambda: losing.evacuation(server).step == MigrationStep.PLACE, "it waits for a host")  # type: ignore[union-attr]
    assert ask(losing, server, "delete") == 204
    losing.until(lambda: losing.record(server).removed_at, "it is gone, with its host still down")
    losing.regain(lost)
    losing.until(lambda: losing.guests(server) == {}, "nothing is left of it")
    losing.until(lambda: losing.migration(server).step == MigrationStep.DONE, "the evacuation is over")
    assert losing.migration(server).status == "cancelled"
    losing.verified()
