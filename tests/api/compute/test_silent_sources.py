"""The source of a move falls silent: the move ends once that host counts as down, and whatever the guest did there, one copy goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.model.errors import NodeFailed
from pileus.model.messages import NodeReply, NodeRequest
from pileus.model.migrations import MigrationStep
from pileus.reconcile import migrations
from tests.api.compute.losing import Losing, looks_often  # noqa: F401 a fixture
from tests.api.harness import TestCloud


@pytest.fixture(params=[False, True], ids=["own disks", "shared disks"])
def losing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Losing]:
    """Three hosts, of which none is fenced."""
    cloud = TestCloud(evacuate="none")
    made = Losing(cloud, tmp_path, 3, shared_disks=request.param)
    yield made
    made.close()
    cloud.close()


def sending(losing: Losing) -> tuple[str, str, str]:
    """(server, source, destination) of a live migration that does not end by itself."""
    server = losing.placed("dirty", "dirty")
    answer = losing.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"}, who="admin")
    assert answer.status == 202, answer
    losing.until(lambda: losing.migration(server).step == "send" and losing.migration(server).progress, "it is being sent")
    migration = losing.migration(server)
    return server, migration.source, str(migration.destination)


def ended(losing: Losing, server: str, status: str = "error") -> Any:
    """The move, once it is over for the server."""
    losing.until(lambda: losing.migration(server).status == status and losing.record(server).migration is None, f"it ends: {status}")
    return losing.migration(server)


def one_copy(losing: Losing, server: str, host: str) -> None:
    """The guest runs there, and nothing else has anything of it."""
    losing.until(lambda: losing.guests(server) == {host: "running"}, f"it runs on {host} alone")
    losing.until(lambda: losing.migration(server).step == "done" or losing.evacuation(server), "the move is over")
    losing.wait(server)
    assert losing.record(server).host == host
    assert set(losing.shares(server)) == {host}
    assert losing.port_hosts(server) == {(host, None)}
    losing.until(lambda: not losing.engine.failing, "nothing fails any more")
    losing.verified()


def test_the_move_ends_with_a_reason_and_the_guest_goes_on_at_its_source(losing: Losing) -> None:
    server, source, destination = sending(losing)
    losing.lose(source, power_off=False)
    move = ended(losing, server)
    assert f"Host {source} is down: evacuate the server" in move.error
    assert losing.events(server, "live-migration")[-1] == ("compute_live_migration", "Error", move.error)
    assert losing.record(server).host == source and losing.show(server)["status"] == "ACTIVE"
    losing.until(lambda: losing.guests(server) == {source: "running"}, "the destination forgets it")
    assert (set(losing.shares(server)), losing.shares(move.id), losing.port_hosts(server)) == ({source}, {}, {(source, None)})
    assert losing.migration(server).step == MigrationStep.UNDO, "its source is still to be told"
    losing.regain(source)
    one_copy(losing, server, source)
    assert (destination, "FinishIncoming") not in losing.requests


def test_a_guest_that_was_given_away_just_then_goes_on_at_its_source(losing: Losing) -> None:
    """The source has sent all of it while nobody heard it: its copy waits there, until it is told to go on."""
    server, source, destination = sending(losing)
    number = losing.migration(server).id
    request = losing.cloud.bus.request

    async def late(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        reply = await request(host, message, timeout)
        if host == destination and type(message).__name__ == "AskMove":  # from now on the destination has all, and nobody asks again
            await losing.drivers[source].moves.force(number, server)
        return reply

    losing.service(source, forced_down=True)  # while it still answers: the first silence ends the move
    losing.cloud.bus.request = late  # type: ignore[method-assign]
    losing.away.add(source)
    ended(losing, server)
    losing.until(lambda: losing.guests(server) == {source: "paused"}, "it stands still, and the destination forgets it")
    losing.regain(source)
    one_copy(losing, server, source)
    assert (destination, "FinishIncoming") not in losing.requests


def test_a_guest_that_has_arrived_goes_on_at_its_destination(losing: Losing) -> None:
    server, source, destination = sending(losing)
    number = losing.migration(server).id
    losing.away.add(source)
    losing.cloud.run(losing.drivers[source].moves.force(number, server))
    losing.lose(source, power_off=False)
    losing.come_back(destination)  # its report tells of it
    losing.wait(server)
    assert losing.guests(server)[destination] == "running" and losing.guests(server)[source] == "paused"
    losing.regain(source)
    one_copy(losing, server, destination)
    assert (source, "ResumeOutgoing") not in losing.requests


def test_a_server_whose_move_ended_so_is_evacuated_and_its_old_host_takes_nothing_up(losing: Losing) -> None:
    server, source, _ = sending(losing)
    losing.lose(source, power_off=False)
    ended(losing, server)
    assert losing.act(server, "evacuate", {}, who="admin", version="2.94").status == 200
    there = losing.elsewhere(server, source)
    losing.regain(source)
    one_copy(losing, server, there)
    assert (source, "ResumeOutgoing") not in losing.requests


def test_a_server_whose_move_ended_so_is_deleted_and_its_host_is_clean_when_it_is_back(losing: Losing) -> None:
    server, source, _ = sending(losing)
    losing.lose(source, power_off=False)
    ended(losing, server)
    assert losing.call("DELETE", f"/servers/{server}").status == 204
    losing.until(lambda: losing.record(server).removed_at, "it is gone, with its host still down")
    losing.regain(source)
    losing.until(lambda: losing.guests(server) == {}, "nothing is left of it")
    losing.verified()


@pytest.mark.parametrize("asked", ["aborted", "deleted"])
def test_what_was_asked_for_while_the_source_was_silent_ends_the_move_too(losing: Losing, asked: str) -> None:
    server, source, _ = sending(losing)
    losing.away.add(source)
    path = f"/servers/{server}" + (f"/migrations/{losing.migration(server).number}" if asked == "aborted" else "")
    assert losing.call("DELETE", path, who="admin").status == (202 if asked == "aborted" else 204)
    losing.lose(source, power_off=False)
    move = ended(losing, server, "cancelled")
    assert asked in move.error and f"Host {source} is down" in move.error
    if asked == "deleted":
        losing.until(lambda: losing.record(server).removed_at, "it is gone")
        losing.regain(source)
        losing.until(lambda: losing.guests(server) == {}, "nothing is left of it")
    else:
        losing.regain(source)
        one_copy(losing, server, source)


@pytest.mark.parametrize("step", ["stop", "send"])
def test_a_server_that_was_to_move_while_it_is_off_stays_and_starts_when_its_host_is_back(losing: Losing, step: str) -> None:
    server = losing.placed()
    source = str(losing.record(server).host)
    request, lost = losing.cloud.bus.request, []
    name = {"stop": "ApplyGuest", "send": "StartOutgoing"}[step]

    async def gone(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        if type(message).__name__ == name and not lost:
            lost.append(host)
            losing.away.add(host)
        return await request(host, message, timeout)

    losing.cloud.bus.request = gone  # type: ignore[method-assign]
    assert losing.act(server, "migrate", who="admin").status == 202
    losing.until(lambda: lost, "its host falls silent")
    losing.lose(source, power_off=False)
    assert "is down" in ended(losing, server).error
    assert losing.record(server).resize is None
    losing.regain(source)
    one_copy(losing, server, source)


def test_one_that_comes_back_to_a_source_that_is_down_is_as_any_other_there(losing: Losing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The destination could not begin; the records name the source again, which falls silent before it is told."""
    monkeypatch.setattr(migrations, "LAST_PART", 0.0)
    server = losing.placed()
    source = str(losing.record(server).host)
    request, lost = losing.cloud.bus.request, []

    async def gone(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        if type(message).__name__ == "FinishIncoming":
            raise NodeFailed("Its QEMU has ended.")
        if type(message).__name__ == "ResumeOutgoing" and not lost:
            lost.append(host)
            losing.away.add(host)
        return await request(host, message, timeout)

    losing.cloud.bus.request = gone  # type: ignore[method-assign]
    assert losing.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"}, who="admin").status == 202
    losing.until(lambda: lost, "its host falls silent")
    losing.lose(source, power_off=False)
    ended(losing, server)
    losing.regain(source)
    one_copy(losing, server, source)


@pytest.mark.parametrize("how", ["finish", "revert", "resume"])
def test_a_server_that_is_deleted_while_it_moves_does_not_wait_for_a_host_that_is_down(losing: Losing, how: str) -> None:
    server = losing.placed()
    request, lost = losing.cloud.bus.request, []
    name = {"finish": "FinishIncoming", "revert": "RemoveGuest", "resume": "ResumeOutgoing"}[how]
    armed = [how == "finish"]

    async def gone(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        if type(message).__name__ == name and armed[0] and not lost:
            lost.append(host)
            losing.away.add(host)
        return await request(host, message, timeout)

    losing.cloud.bus.request = gone  # type: ignore[method-assign]
    if how == "finish":
        assert losing.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"}, who="admin").status == 202
    else:
        assert losing.act(server, "migrate", who="admin").status == 202
        losing.wait(server, "VERIFY_RESIZE")
        if losing.shared_disks and how == "resume":
            pytest.skip("where disks are shared, it is sent back instead")
        armed[0] = True
        assert losing.act(server, "revertResize").status == 202
    losing.until(lambda: lost, "a host falls silent")
    (host,) = lost
    assert losing.call("DELETE", f"/servers/{server}").status == 204
    losing.lose(host, power_off=False)
    losing.until(lambda: losing.record(server).removed_at, "it is gone, with its host still down")
    losing.regain(host)
    losing.until(lambda: losing.guests(server) == {}, "nothing is left of it")
    losing.until(lambda: losing.migration(server).step == "done", "its move is over")
    losing.until(lambda: not losing.engine.failing, "nothing fails any more")
    losing.verified()
