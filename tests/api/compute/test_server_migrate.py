"""Servers that move between simulated hosts, as an administrator asks for it: live, off, and what becomes of it when it goes wrong."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pileus.model.errors import Conflict, NodeFailed
from pileus.model.guests import ObservedGuest
from pileus.model.messages import FinishIncoming, MoveReply, NodeReply, NodeRequest
from pileus.model.migrations import MigrationStatus
from pileus.model.moves import MovePhase, MoveProgress
from pileus.reconcile import migrations
from pileus.store.ports import ports_of
from tests.api.compute.moving import Moving
from tests.api.harness import TestCloud


@pytest.fixture
def moving(cloud: TestCloud) -> Iterator[Moving]:
    """Two hosts."""
    made = Moving(cloud)
    yield made
    made.close()


def live(moving: Moving, server: str, host: str | None = None, **options: Any) -> Any:
    version = options.pop("version", "2.104")
    body = {"host": host, "block_migration": "auto", **options}
    return moving.act(server, "os-migrateLive", body, who="admin", version=version)


def test_a_server_moves_as_it_runs(moving: Moving) -> None:
    server = moving.placed()
    source, destination = str(moving.record(server).host), moving.other(server)
    assert live(moving, server).status == 202
    assert moving.show(server)["status"] in ("MIGRATING", "ACTIVE")
    migration = moving.wait_move(server, "completed")
    moving.wait(server)
    assert (migration.source, migration.destination, moving.record(server).host) == (source, destination, destination)
    assert moving.guests(server) == {destination: "running"}
    assert set(moving.shares(server)) == {destination}
    assert moving.shares(migration.id) == {}
    assert moving.port_hosts(server) == {(destination, None)}
    assert migration.keys is None
    assert migration.forecast is not None
    assert moving.events(server, "live-migration") == [
        ("conductor_live_migrate_instance", "Success", None),
        ("compute_live_migration", "Success", None),
    ]


@pytest.mark.parametrize("fails", ["nowhere", "source", "destination"])
def test_connections_go_with_a_server_and_hold_up_no_move(moving: Moving, fails: str) -> None:
    server = moving.placed()
    hosts = {"source": str(moving.record(server).host), "destination": moving.other(server)}
    restored: list[list[str]] = []

    async def connections(domain_id: str, addresses: list[str]) -> list[str]:
        if fails == "source":
            raise NodeFailed("The kernel says nothing.")
        return [f"to {address}" for address in addresses]

    async def restore(domain_id: str, addresses: list[str], connections: list[str]) -> int:
        assert moving.guests(server).get(hosts["destination"]) != "running", "it is tracked before the guest says anything"
        restored.append(connections)
        if fails == "destination":
            raise NodeFailed("The kernel takes nothing.")
        return len(connections)

    networks: dict[str, Any] = {side: moving.agents[host]._network for side, host in hosts.items()}  # pyright: ignore[reportPrivateUsage]
    networks["source"].connections, networks["destination"].restore = connections, restore
    assert live(moving, server).status == 202
    moving.wait_move(server, "completed")
    moving.wait(server)
    assert moving.guests(server) == {hosts["destination"]: "running"}
    (port,) = moving.cloud.run(ports_of(moving.cloud.cloud.db, [server]))[server]
    assert restored == ([] if fails == "source" else [[f"to {one.ip_address}" for one in port.fixed_ips]])


@pytest.mark.parametrize("failure", [Conflict("The server has not been given away by its host yet."), NodeFailed("Its QEMU has ended.")])
def test_a_server_whose_last_part_never_arrives_goes_on_at_its_source(
    moving: Moving, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LAST_PART", 0.2)
    server = moving.placed()
    source, destination = str(moving.record(server).host), moving.other(server)

    async def finish_incoming(request: FinishIncoming) -> ObservedGuest:
        assert moving.guests(server)[source] != "running"
        raise failure

    monkeypatch.setattr(moving.drivers[destination].moves, "finish_incoming", finish_incoming)
    assert live(moving, server).status == 202
    migration = moving.wait_move(server, "error")
    moving.until(lambda: moving.migration(server).step == "done", "the destination forgets it")
    moving.wait(server)
    assert "never got all of the guest" in migration.error
    assert moving.record(server).host == source and moving.guests(server) == {source: "running"}
    assert (set(moving.shares(server)), moving.shares(migration.id)) == ({source}, {})
    assert moving.port_hosts(server) == {(source, None)}
    asked = [name for host, name in moving.requests if host == destination]
    assert "FinishIncoming" not in asked[asked.index("CancelMove") :], "it could begin after the source has"
    assert moving.requests.index((destination, "CancelMove")) < moving.requests.index((source, "ResumeOutgoing"))
    assert moving.events(server, "live-migration")[-1] == ("compute_live_migration", "Error", migration.error)
    monkeypatch.undo()
    assert live(moving, server).status == 202
    moving.until(lambda: moving.record(server).host == destination, "it moves after all")


def test_a_server_that_may_have_run_at_its_destination_never_goes_back(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    server = moving.placed()
    source, destination = str(moving.record(server).host), moving.other(server)
    moves = moving.drivers[destination].moves
    progress = moves.progress

    async def ran(migration_id: str, guest_id: str) -> MoveProgress:
        return msgspec.structs.replace(await progress(migration_id, guest_id), ran=True)

    async def finish_incoming(request: FinishIncoming) -> ObservedGuest:
        raise NodeFailed("Its QEMU has ended.")

    monkeypatch.setattr(moves, "progress", ran)
    monkeypatch.setattr(moves, "finish_incoming", finish_incoming)
    assert live(moving, server).status == 202
    moving.wait(server, "ERROR")
    assert "A hard reboot tries again" in moving.show(server)["fault"]["message"]
    assert moving.record(server).host == destination
    assert (source, "ResumeOutgoing") not in moving.requests


def test_a_server_moves_back_and_forth(moving: Moving) -> None:
    server = moving.placed()
    for _ in range(4):
        destination = moving.other(server)
        assert live(moving, server, destination).status == 202
        moving.until(lambda there=destination: moving.record(server).host == there, "it moves")  # type: ignore[misc]
        moving.wait(server)
    moving.wait_move(server, "completed")
    assert list(moving.guests(server).values()) == ["running"]


def test_a_paused_server_stays_paused_and_a_suspended_one_suspended(moving: Moving) -> None:
    for action, status, how in (("pause", "PAUSED", "live"), ("suspend", "SUSPENDED", "migrate")):
        server = moving.placed(action)
        destination = moving.other(server)
        assert moving.act(server, action).status == 202
        moving.wait(server, status)
        if how == "migrate":
            assert moving.act(server, "migrate", who="admin").status == 409
        answer = live(moving, server) if how == "live" else moving.act(server, "migrate", {"host": destination}, who="admin")
        assert answer.status == 202
        moving.wait_move(server, "completed")
        moving.wait(server, status)
        assert moving.guests(server) == {destination: status.lower()}


def test_no_host_fits_and_the_history_says_why(cloud: TestCloud) -> None:
    moving = Moving(cloud, hosts=1)
    try:
        server = moving.placed()
        assert live(moving, server).status == 202
        migration = moving.wait_move(server, "error")
        moving.wait(server)
        assert "No valid host was found" in migration.error and "the server is here" in migration.error
        assert moving.events(server, "live-migration") == [("conductor_live_migrate_instance", "Error", migration.error)]
        assert moving.guests(server) == {"h1": "running"}
    finally:
        moving.close()


def test_members_of_a_group_stay_apart(moving: Moving) -> None:
    group = moving.call("POST", "/os-server-groups", {"server_group": {"name": "apart", "policy": "anti-affinity"}}).json["server_group"]
    hints = {"os:scheduler_hints": {"group": group["id"]}}
    found = []
    for name in ("one", "two"):
        server = {"name": name, "imageRef": moving.image, "flavorRef": "1", "networks": "auto"}
        answer = moving.call("POST", "/servers", {"server": server, **hints})
        found.append(answer.json["server"]["id"])
        moving.wait(found[-1])
    assert live(moving, found[0]).status == 202
    assert "anti-affinity" in moving.wait_move(found[0], "error").error
    moving.wait(found[0])


@pytest.mark.parametrize(
    ("version", "body", "status"),
    [
        ("2.1", {"host": None, "block_migration": False, "disk_over_commit": False}, 202),
        ("2.1", {"host": None, "block_migration": False}, 400),
        ("2.24", {"host": None, "block_migration": "auto", "disk_over_commit": False}, 400),
        ("2.25", {"host": None, "block_migration": "auto"}, 202),
        ("2.25", {"host": None, "block_migration": "auto", "force": False}, 400),
        ("2.30", {"host": None, "block_migration": "auto", "force": True}, 400),
        ("2.30", {"host": "h1", "block_migration": True, "force": True}, None),
        ("2.67", {"host": None, "block_migration": True, "force": False}, 202),
        ("2.68", {"host": None, "block_migration": "auto", "force": False}, 400),
        ("2.104", {"host": "nowhere", "block_migration": "auto"}, 400),
        ("2.104", {"host": "", "block_migration": "auto"}, 400),
    ],
)
def test_bodies_by_version(moving: Moving, version: str, body: dict[str, Any], status: int | None) -> None:
    server = moving.placed()
    expected = status or (400 if moving.record(server).host == "h1" else 202)
    answer = moving.act(server, "os-migrateLive", body, who="admin", version=version)
    assert answer.status == expected, answer


def test_a_server_is_not_moved_to_where_it_is_nor_by_a_member(moving: Moving) -> None:
    server = moving.placed()
    here = moving.record(server).host
    assert live(moving, server, here).status == 400
    assert moving.act(server, "migrate", {"host": here}, who="admin").status == 400
    assert moving.act(server, "migrate", {"host": "nowhere"}, who="admin").status == 400
    assert moving.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"}).status == 403


def test_a_move_that_never_converges_is_aborted(moving: Moving) -> None:
    server = moving.placed(flavor="dirty")
    source = str(moving.record(server).host)
    assert live(moving, server).status == 202
    migration = moving.wait_move(server, "running")
    listed = moving.call("GET", f"/servers/{server}/migrations", who="admin").json["migrations"]
    assert [one["id"] for one in listed] == [migration.number]
    assert moving.show(server)["status"] == "MIGRATING"
    assert moving.act(server, "os-stop").status == 409
    assert moving.call("DELETE", f"/servers/{server}/migrations/{migration.number}", who="admin").status == 202
    moving.wait_move(server, "cancelled")
    moving.wait(server)
    assert moving.record(server).host == source
    assert moving.guests(server) == {source: "running"}
    assert set(moving.shares(server)) == {source}
    assert moving.port_hosts(server) == {(source, None)}
    assert moving.events(server, "live-migration")[-1][:2] == ("compute_live_migration", "Error")
    assert moving.call("DELETE", f"/servers/{server}/migrations/{migration.number}", who="admin").status == 409


def test_a_move_is_forced_to_its_end(moving: Moving) -> None:
    server = moving.placed(flavor="dirty")
    destination = moving.other(server)
    assert live(moving, server).status == 202
    migration = moving.wait_move(server, "running")
    path = f"/servers/{server}/migrations/{migration.number}"
    moving.until(lambda: moving.migration(server).progress, "its progress is known")
    shown = moving.call("GET", path, who="admin").json["migration"]
    assert shown["memory_total_bytes"] == 8192 << 20
    rounds = moving.call("GET", f"{path}/progress", who="admin").json["progress"]
    assert rounds["forecast"]["converges"] is False
    assert moving.call("POST", f"{path}/action", {"force_complete": None}, who="admin").status == 202
    moving.wait_move(server, "completed")
    moving.wait(server)
    assert moving.guests(server) == {destination: "running"}
    assert moving.call("GET", path, who="admin").status == 404
    assert moving.call("GET", f"{path}/progress", who="admin").json["progress"]["status"] == "completed"


def test_a_server_that_is_deleted_while_it_moves_leaves_nothing(moving: Moving) -> None:
    server = moving.placed(flavor="dirty")
    assert live(moving, server).status == 202
    moving.wait_move(server, "running")
    assert moving.call("DELETE", f"/servers/{server}").status == 204
    moving.until(lambda: moving.record(server).removed_at, "the server is gone")
    migration = moving.wait_move(server, "cancelled")
    assert moving.guests(server) == {}
    assert (moving.shares(server), moving.shares(migration.id)) == ({}, {})


def test_a_destination_that_is_lost_before_the_switch_leaves_the_server_where_it_was(moving: Moving) -> None:
    server = moving.placed(flavor="dirty")
    source, destination = str(moving.record(server).host), moving.other(server)
    assert live(moving, server).status == 202
    migration = moving.wait_move(server, "running")
    moving.away.add(destination)
    path = f"/servers/{server}/migrations/{migration.number}/action"
    assert moving.call("POST", path, {"force_complete": None}, who="admin").status == 202
    moving.wait_move(server, "error")
    moving.wait(server)
    assert moving.record(server).host == source
    assert moving.guests(server)[source] == "running"
    assert moving.migration(server).step != "done"  # the destination is still to forget it
    moving.come_back(destination)
    moving.until(lambda: moving.migration(server).step == "done", "the destination forgets it")
    assert moving.guests(server) == {source: "running"}


def test_a_destination_that_is_lost_in_post_copy_ends_the_guest_and_a_reboot_starts_it_anew() -> None:
    cloud = TestCloud(move_deadline=0.2)
    moving = Moving(cloud)
    try:
        server = moving.placed(flavor="dirty")
        source, destination = str(moving.record(server).host), moving.other(server)
        request = cloud.bus.request

        async def lost(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
            reply = await request(host, message, timeout)
            if isinstance(reply, MoveReply) and reply.progress.phase is MovePhase.POST_COPY:
                moving.away.add(destination)
            return reply

        cloud.bus.request = lost  # type: ignore[method-assign]
        assert live(moving, server).status == 202
        migration = moving.wait_move(server, "error")
        moving.wait(server, "ERROR")
        assert "The destination is gone" in migration.error
        assert "lost in post-copy" in moving.show(server)["fault"]["message"]
        assert moving.record(server).host == source and moving.guests(server)[source] == "crashed"
        assert moving.act(server, "reboot", {"type": "HARD"}).status == 202
        moving.wait(server)
        moving.come_back(destination)
        moving.until(lambda: moving.guests(server) == {source: "running"}, "the destination forgets it")
        moving.verified()
    finally:
        moving.close()
        cloud.close()


def test_a_source_that_is_lost_after_the_switch_does_not_hold_the_server_up(moving: Moving) -> None:
    server = moving.placed(flavor="dirty")
    source, destination = str(moving.record(server).host), moving.other(server)
    assert live(moving, server).status == 202
    moving.wait_move(server, "running")
    moving.until(lambda: moving.migration(server).progress, "it is under way")

    async def switch() -> None:
        await moving.drivers[source].moves.force(moving_id, server)

    moving_id = moving.migration(server).id
    moving.away.add(source)
    moving.cloud.run(switch())
    moving.come_back(destination)  # its report tells of it
    moving.wait(server)
    assert moving.record(server).host == destination
    assert moving.migration(server).status == "completed"
    moving.come_back(source)
    moving.until(lambda: moving.guests(server) == {destination: "running"}, "the source forgets it")


def test_a_cold_migration_waits_to_be_confirmed(moving: Moving) -> None:
    server = moving.placed()
    source, destination = str(moving.record(server).host), moving.other(server)
    assert moving.act(server, "migrate", {"host": destination}, who="admin").status == 202
    assert moving.show(server)["status"] in ("RESIZE", "VERIFY_RESIZE")
    moving.wait(server, "VERIFY_RESIZE")
    migration = moving.wait_move(server, "finished")
    assert moving.guests(server) == {source: "stopped", destination: "running"}
    assert (set(moving.shares(server)), set(moving.shares(migration.id))) == ({destination}, {source})
    assert moving.act(server, "confirmResize").status == 204
    moving.wait(server)
    moving.wait_move(server, "confirmed")
    assert moving.guests(server) == {destination: "running"}
    assert moving.shares(migration.id) == {}


def test_a_cold_migration_is_taken_back(moving: Moving) -> None:
    server = moving.placed()
    source = str(moving.record(server).host)
    assert moving.act(server, "migrate", who="admin").status == 202
    moving.wait(server, "VERIFY_RESIZE")
    assert moving.act(server, "revertResize").status == 202
    moving.wait(server)
    migration = moving.wait_move(server, "reverted")
    assert moving.record(server).host == source
    assert moving.guests(server) == {source: "running"}
    assert set(moving.shares(server)) == {source}
    assert moving.shares(migration.id) == {}
    assert moving.port_hosts(server) == {(source, None)}


def test_where_disks_are_shared_a_server_is_sent_back_when_it_is_reverted(cloud: TestCloud) -> None:
    moving = Moving(cloud, shared_disks=True)
    try:
        server = moving.placed()
        source, destination = str(moving.record(server).host), moving.other(server)
        assert live(moving, server, block_migration=True).status == 202
        assert "are shared" in moving.wait_move(server, "error").error
        moving.wait(server)
        assert moving.act(server, "migrate", who="admin").status == 202
        moving.wait(server, "VERIFY_RESIZE")
        moving.requests.clear()
        assert moving.act(server, "revertResize").status == 202
        moving.wait(server)
        migration = moving.wait_move(server, "reverted")
        assert moving.requests.index((source, "RemoveGuest")) < moving.requests.index((source, "PrepareIncoming"))
        assert moving.requests.index((source, "FinishIncoming")) < moving.requests.index((destination, "RemoveGuest"))
        assert moving.guests(server) == {source: "running"}
        assert (set(moving.shares(server)), moving.shares(migration.id)) == ({source}, {})
        assert moving.port_hosts(server) == {(source, None)}
    finally:
        moving.close()


def test_a_stopped_server_stays_off(moving: Moving) -> None:
    server = moving.placed()
    destination = moving.other(server)
    assert moving.act(server, "os-stop").status == 202
    moving.wait(server, "SHUTOFF")
    assert moving.act(server, "migrate", who="admin").status == 202
    moving.wait(server, "VERIFY_RESIZE")
    assert moving.act(server, "confirmResize").status == 204
    moving.wait(server, "SHUTOFF")
    moving.wait_move(server, "confirmed")
    assert moving.guests(server) == {destination: "stopped"}


def test_a_server_that_is_deleted_before_it_is_confirmed_leaves_nothing(moving: Moving) -> None:
    server = moving.placed()
    assert moving.act(server, "migrate", who="admin").status == 202
    moving.wait(server, "VERIFY_RESIZE")
    assert moving.call("DELETE", f"/servers/{server}").status == 204
    moving.until(lambda: moving.record(server).removed_at, "the server is gone")
    migration = moving.wait_move(server, "confirmed")
    assert moving.guests(server) == {}
    assert moving.shares(migration.id) == {}


def test_a_resize_that_the_host_can_not_take_goes_to_another(moving: Moving) -> None:
    server = moving.placed()
    source, destination = str(moving.record(server).host), moving.other(server)
    fill(moving, source)
    assert moving.act(server, "resize", {"flavorRef": "2"}).status == 202
    moving.wait(server, "VERIFY_RESIZE")
    assert (moving.record(server).host, moving.record(server).flavor.name) == (destination, "m1.small")
    assert moving.shares(server)[destination]["MEMORY_MB"] == 2048
    assert moving.shares(moving.migration(server).id)[source]["MEMORY_MB"] == 512
    assert moving.act(server, "revertResize").status == 202
    moving.wait(server)
    assert (moving.record(server).host, moving.record(server).flavor.name) == (source, "m1.tiny")
    assert moving.wait_move(server, "reverted").kind == "resize"


def test_a_resize_stays_where_it_fits_and_is_a_migration_too(moving: Moving) -> None:
    server = moving.placed()
    source = moving.record(server).host
    assert moving.act(server, "resize", {"flavorRef": "2"}).status == 202
    moving.wait(server, "VERIFY_RESIZE")
    migration = moving.wait_move(server, "finished")
    assert (migration.source, migration.destination, moving.record(server).host) == (source, source, source)
    assert moving.act(server, "confirmResize").status == 204
    moving.wait(server)
    moving.wait_move(server, "confirmed")


@pytest.mark.parametrize("how", ["migrate", "resize"])
def test_what_nobody_confirms_is_confirmed_in_time(how: str) -> None:
    cloud = TestCloud(resize_confirm_window=0.2)
    moving = Moving(cloud)
    try:
        server = moving.placed()
        answer = moving.act(server, "migrate", who="admin") if how == "migrate" else moving.act(server, "resize", {"flavorRef": "2"})
        assert answer.status == 202
        moving.until(lambda: moving.migration(server).status == MigrationStatus.CONFIRMED, "it is confirmed")
        moving.wait(server)
        moving.until(lambda: list(moving.guests(server).values()) == ["running"], "the source has forgotten it")
    finally:
        moving.close()
        cloud.close()


def fill(moving: Moving, host: str) -> None:
    """Leave next to no memory free on a host, as its operator may."""
    provider = moving.cloud.run(moving.cloud.db.value("SELECT id FROM hosts WHERE name = ?", host))
    path = f"/placement/resource_providers/{provider}/inventories/MEMORY_MB"
    headers = {"openstack-api-version": "placement latest"}
    stock = moving.cloud.call("GET", path, "admin", headers=headers).json
    body = {**stock, "reserved": stock["total"] - 600}
    assert moving.cloud.call("PUT", path, "admin", body, headers).status == 200


def test_a_host_that_is_disabled_is_refused_unless_it_is_forced(moving: Moving) -> None:
    server = moving.placed()
    destination = moving.other(server)
    services = moving.call("GET", "/os-services?binary=nova-compute", who="admin").json["services"]
    key = next(one["id"] for one in services if one["host"] == destination)
    assert moving.call("PUT", f"/os-services/{key}", {"status": "disabled"}, who="admin").status == 200
    assert live(moving, server, destination).status == 202
    assert "disabled" in moving.wait_move(server, "error").error
    moving.wait(server)
    assert live(moving, server, destination, version="2.67", force=True).status == 202
    moving.wait_move(server, "completed")
    moving.wait(server)
    assert moving.guests(server) == {destination: "running"}


def test_a_forecast_says_what_would_not_converge_and_why(moving: Moving) -> None:
    quiet, dirty = moving.placed("quiet"), moving.placed("dirty", flavor="dirty")
    forecasts = [moving.call("GET", f"/servers/{one}/pileus-forecast", who="admin").json["forecast"] for one in (quiet, dirty)]
    assert [one["converges"] for one in forecasts] == [True, False]
    assert "can be sent" in forecasts[1]["reason"]
    assert moving.call("GET", f"/servers/{quiet}/pileus-forecast").status == 403


def test_a_server_that_was_made_on_a_named_host_may_leave_it(moving: Moving) -> None:
    server = moving.placed(availability_zone="nova:h2", who="admin", networks="none")
    assert moving.record(server).host == "h2"
    assert live(moving, server).status == 202
    moving.wait_move(server, "completed")
    assert moving.record(server).host == "h1"
