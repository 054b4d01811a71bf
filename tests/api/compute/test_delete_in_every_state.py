"""A server is deleted in every state that it can be in: it goes, with all that it held, on every host.

A state is held by its step: while that fails again and again, as with a host that is too busy, the server stays where it is. Servers are
deleted while it does. Moves are in other hands: theirs is let go on after the deletion, and must then end by itself.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pileus.core.servers import Next
from pileus.model.errors import Unavailable
from pileus.model.migrations import MigrationStep
from pileus.node.hypervisor.simulated import FAIL
from tests.api.compute.moving import Moving
from tests.api.harness import TestCloud

HELD = "This is held up by a test."


@pytest.fixture
def moving(cloud: TestCloud) -> Iterator[Moving]:
    """Two hosts."""
    made = Moving(cloud)
    yield made
    made.close()


def hold(moving: Moving, reconciler: str, step: Any, times: int = 1 << 30) -> Callable[[], None]:
    """From now on a step fails; what is returned lets it go on."""
    actions: dict[Any, Any] = moving.engine.reconcilers[reconciler].actions  # type: ignore[attr-defined]
    real, left = actions[step], [times]

    async def held(*arguments: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise Unavailable(HELD)
        return await real(*arguments)

    actions[step] = held
    if step is MigrationStep.FINISH:  # which the step before goes on with at once, too
        moving.engine.reconcilers[reconciler]._finish = held  # type: ignore[attr-defined]

    def release() -> None:
        left[0] = 0
        moving.engine.retry()

    return release


def gone(moving: Moving, server: str) -> None:
    """Nothing is left of it but the history."""
    moving.until(lambda: moving.record(server).removed_at is not None, "it is removed")
    moving.until(lambda: not moving.guests(server), "no host keeps it")
    moves = [one[0] for one in moving.cloud.run(moving.cloud.db.all("SELECT id FROM server_migrations WHERE server_id = ?", server))]
    for migration in moves:
        moving.until(
            lambda one=migration: moving.cloud.run(moving.cloud.db.value("SELECT step FROM server_migrations WHERE id = ?", one)) == "done",  # type: ignore[misc]
            "its migration is over",
        )
    assert [one for one in (server, *moves) if moving.shares(one)] == [], "something of a host is held"
    assert moving.port_hosts(server) == set()
    used = moving.call("GET", "/limits").json["limits"]["absolute"]
    assert (used["totalInstancesUsed"], used["totalCoresUsed"], used["totalRAMUsed"]) == (0, 0, 0)
    assert moving.call("GET", f"/servers/{server}").status == 404
    moving.until(lambda: not moving.engine.failing, "nothing fails any more")


def deleted(moving: Moving, server: str) -> None:
    assert moving.call("DELETE", f"/servers/{server}").status == 204
    gone(moving, server)


@pytest.mark.parametrize(("held", "task"), [(Next.PLACE, "scheduling"), (Next.APPLY, "spawning")])
def test_while_it_is_built(moving: Moving, held: Next, task: str) -> None:
    hold(moving, "servers", held)
    server = moving.create()
    moving.until(lambda: moving.record(server).task_state == task, task)
    moving.until(lambda: moving.engine.failing, "it is held")
    deleted(moving, server)


TASKS = [
    ("", "reboot", {"type": "SOFT"}, "rebooting"),
    ("", "reboot", {"type": "HARD"}, "rebooting_hard"),
    ("", "rebuild", None, "rebuilding"),
    ("", "os-stop", None, "powering-off"),
    ("os-stop", "os-start", None, "powering-on"),
    ("", "pause", None, "pausing"),
    ("pause", "unpause", None, "unpausing"),
    ("", "suspend", None, "suspending"),
    ("suspend", "resume", None, "resuming"),
    ("", "createImage", {"name": "copy"}, "image_snapshot"),
    ("", "resize", {"flavorRef": "2"}, "resize_prep"),
]
REST = {"os-stop": "SHUTOFF", "pause": "PAUSED", "suspend": "SUSPENDED"}


@pytest.mark.parametrize(("before", "action", "value", "task"), TASKS, ids=[one[3] for one in TASKS])
def test_while_something_is_done_to_it(moving: Moving, before: str, action: str, value: Any, task: str) -> None:
    server = moving.placed()
    if before:
        assert moving.act(server, before).status == 202
        moving.wait(server, REST[before])
    if action == "rebuild":
        value = {"imageRef": moving.record(server).image_id}
    held = {"image_snapshot": Next.SNAPSHOT, "resize_prep": Next.RESIZE}.get(task, Next.APPLY)
    hold(moving, "servers", held)
    assert moving.act(server, action, value).status in (202, 204)
    moving.until(lambda: moving.record(server).task_state == task, task)
    deleted(moving, server)


@pytest.mark.parametrize("action", ["", *REST])
def test_at_rest(moving: Moving, action: str) -> None:
    server = moving.placed()
    if action:
        assert moving.act(server, action).status == 202
        moving.wait(server, REST[action])
    deleted(moving, server)


@pytest.mark.parametrize("where", ["nowhere", "on a host", "by an administrator"])
def test_in_error(moving: Moving, where: str) -> None:
    if where == "by an administrator":
        server = moving.placed()
        assert moving.act(server, "os-resetState", {"state": "error"}, who="admin").status == 202
    else:
        extra = {"trait:CUSTOM_NONE": "required"} if where == "nowhere" else {FAIL: "This is said by a test."}
        moving.call("POST", "/flavors/dirty/os-extra_specs", {"extra_specs": extra}, who="admin")
        server = moving.create(flavorRef="dirty")
    moving.until(lambda: moving.show(server)["status"] == "ERROR", "ERROR")
    deleted(moving, server)


LIVE = (MigrationStep.PLACE, MigrationStep.PREPARE, MigrationStep.SEND, MigrationStep.FINISH, MigrationStep.CLEAN, MigrationStep.UNDO)
COLD = (MigrationStep.PLACE, MigrationStep.STOP, MigrationStep.PREPARE, MigrationStep.SEND, MigrationStep.FINISH, MigrationStep.CLEAN)
BACK = (MigrationStep.REVERT, MigrationStep.RESUME)


@pytest.mark.parametrize(
    ("kind", "step"),
    [*(("os-migrateLive", step) for step in LIVE), *(("migrate", step) for step in COLD), *(("revertResize", step) for step in BACK)],
)
def test_while_it_moves(moving: Moving, kind: str, step: MigrationStep) -> None:
    server = moving.placed()
    release = hold(moving, "migrations", step)
    if kind == "os-migrateLive":
        assert moving.act(server, kind, {"host": None, "block_migration": "auto"}, who="admin").status == 202
        if step is MigrationStep.UNDO:
            moving.away.add(moving.other(server))
            moving.until(lambda: moving.migration(server).step in (MigrationStep.PREPARE, step), "it is under way")
    else:
        assert moving.act(server, "migrate", who="admin").status == 202
    if kind == "revertResize" or (step is MigrationStep.CLEAN and kind == "migrate"):
        moving.wait(server, "VERIFY_RESIZE")
        assert moving.act(server, kind if kind == "revertResize" else "confirmResize").status in (202, 204)
    if step is not MigrationStep.UNDO:
        moving.until(lambda: moving.migration(server).step == step, step)
    assert moving.call("DELETE", f"/servers/{server}").status == 204
    moving.until(lambda: moving.record(server).deleted_at is not None, "it is to go")
    for host in list(moving.away):
        moving.come_back(host)
    release()
    gone(moving, server)


@pytest.mark.parametrize("word", ["", "confirmResize", "revertResize"])
def test_while_its_resize_waits_for_a_word_or_has_had_it(moving: Moving, word: str) -> None:
    server = moving.placed()
    assert moving.act(server, "resize", {"flavorRef": "2"}).status == 202
    moving.wait(server, "VERIFY_RESIZE")
    if word:
        hold(moving, "servers", Next.RESIZE)
        assert moving.act(server, word).status in (202, 204)
    deleted(moving, server)
