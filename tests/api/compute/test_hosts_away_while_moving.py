"""Either host of a move falls silent before or after any request, and comes back later: one copy is left, where the records say."""

from typing import Any

import pytest

from tests.api.compute.moving import Moving, Silence
from tests.api.harness import TestCloud

MOST_REQUESTS = 40
ENDED = ("completed", "error", "cancelled", "confirmed", "reverted", "finished")


def ask_live(moving: Moving, server: str) -> Any:
    return moving.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"}, who="admin")


def ask_cold(moving: Moving, server: str) -> Any:
    return moving.act(server, "migrate", who="admin")


def ask_revert(moving: Moving, server: str) -> Any:
    return moving.act(server, "revertResize")


def ask_confirm(moving: Moving, server: str) -> Any:
    return moving.act(server, "confirmResize")


def begin_cold(moving: Moving, server: str) -> None:
    assert ask_cold(moving, server).status == 202
    moving.wait(server, "VERIFY_RESIZE")


def begin_nothing(moving: Moving, server: str) -> None:
    pass


def decide(moving: Moving, server: str, word: str) -> None:
    if moving.is_at(server, "VERIFY_RESIZE"):
        assert moving.act(server, word).status in (202, 204)
        moving.until(lambda: moving.migration(server).step == "done", "the migration is over")
        moving.wait(server)


def at_rest(moving: Moving, server: str) -> bool:
    """Whether nothing more happens as long as the host is silent."""
    engine = moving.engine
    waits = bool(engine.failing) and engine.idle()
    row, migration = moving.record(server), moving.migration(server)
    return waits or (row.next_step == "nothing" and row.migration is None and migration.step in ("done", "verify"))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize(
    ("begin", "ask", "fewest"),
    [(begin_nothing, ask_live, 8), (begin_nothing, ask_cold, 6), (begin_cold, ask_revert, 2), (begin_cold, ask_confirm, 1)],
)
def test_a_host_is_silent_for_a_while(cloud: TestCloud, begin: Any, ask: Any, fewest: int, side: str, after: bool) -> None:
    moving = Moving(cloud)
    outcomes: list[str] = []
    try:
        for number in range(1, MOST_REQUESTS):
            server = moving.placed(f"server-{number}")
            host = str(moving.record(server).host) if side == "source" else moving.other(server)
            begin(moving, server)
            silence = Silence(moving, host, number, after)
            silence.begin()
            assert ask(moving, server).status in (202, 204)
            moving.until(lambda one=server: at_rest(moving, one), "it rests")  # type: ignore[misc]
            silence.end()
            moving.until(lambda one=server: moving.migration(one).step in ("done", "verify"), f"it ends, after {silence.name}")  # type: ignore[misc]
            moving.until(lambda one=server: moving.record(one).status in ("ACTIVE", "VERIFY_RESIZE"), "it runs")  # type: ignore[misc]
            decide(moving, server, "confirmResize")
            moving.wait(server)
            one_copy(moving, server, silence.name)
            outcomes.append(f"{silence.name}: {moving.migration(server).status}")
            moving.call("DELETE", f"/servers/{server}")
            moving.until(lambda one=server: moving.record(one).removed_at, "the server is gone")  # type: ignore[misc]
            if silence.seen < number:
                break
        else:
            pytest.fail(f"it has more than {MOST_REQUESTS} requests")
        assert len(outcomes) > fewest, outcomes
    finally:
        moving.close()


def one_copy(moving: Moving, server: str, when: str) -> None:
    """The guest is on the server's host and nowhere else, with its ports and its share, and the record of the move tells the truth."""
    row, migration = moving.record(server), moving.migration(server)
    assert moving.guests(server) == {row.host: "running"}, when
    assert set(moving.shares(server)) == {row.host}, when
    assert moving.shares(migration.id) == {}, when
    assert moving.port_hosts(server) == {(row.host, None)}, when
    assert migration.status in ENDED and migration.keys is None, when
    there = migration.status in ("completed", "confirmed")
    assert migration.step == "done", when
    assert row.host == (migration.destination if there else migration.source), (when, migration)
