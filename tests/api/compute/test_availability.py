"""A host is lost: it is fenced, then the servers that policy says so of start elsewhere, each on one host."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pileus.model.messages import NodeReply, NodeRequest
from pileus.store import migration_records
from tests.api.compute.losing import Losing, fence_command, looks_often  # noqa: F401 a fixture
from tests.api.harness import TestCloud

MARKED: dict[str, Any] = {"metadata": {"HA_Enabled": "True"}}


@contextmanager
def losing(directory: Path, hosts: int = 3, shared_disks: bool = True, **settings: Any) -> Iterator[Losing]:
    cloud = TestCloud(**{"fencing": {"*": fence_command(directory)}, **settings})
    made = Losing(cloud, directory, hosts, shared_disks)
    try:
        yield made
    finally:
        made.close()
        cloud.close()


def one_copy(cloud: Losing, server: str) -> None:
    """The guest, its ports and its share are on the server's host and nowhere else, and its evacuation holds nothing."""
    row, evacuation = cloud.record(server), cloud.evacuation(server)
    assert evacuation is not None
    assert cloud.guests(server) == {row.host: "running"}
    assert set(cloud.shares(server)) == {row.host}
    assert cloud.shares(evacuation.id) == {}
    assert cloud.port_hosts(server) == {(row.host, None)}
    assert evacuation.step == "done"


def test_a_host_is_fenced_and_its_marked_servers_start_elsewhere(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.lose(host)
        there = cloud.elsewhere(server, host)
        assert cloud.fenced == [host]
        row = cloud.host_row(host)
        assert row.fenced_at is not None and row.seen_at < row.fenced_at and row.fence_error is None
        assert cloud.show(server)["status"] == "ACTIVE"
        assert cloud.guests(server) == {there: "running"}
        evacuation = cloud.evacuation(server)
        assert evacuation is not None
        assert (evacuation.status, evacuation.source, evacuation.destination) == ("done", host, there)
        assert set(cloud.shares(evacuation.id)) == {host}  # until it is back and clean


def test_the_history_says_what_happened_under_a_request_of_its_own(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.lose(host)
        cloud.elsewhere(server, host)
        shown = cloud.call("GET", f"/servers/{server}/os-instance-actions", who="admin").json["instanceActions"]
        assert [one["action"] for one in shown] == ["evacuate", "create"]
        assert shown[0]["request_id"].startswith("req-") and shown[0]["request_id"] != shown[1]["request_id"]
        (event,) = cloud.events(server, "evacuate")
        assert event == ("compute_rebuild_instance", "Success", None)
        (migration,) = cloud.call("GET", "/os-migrations?migration_type=evacuation", who="admin").json["migrations"]
        assert (migration["status"], migration["instance_uuid"], migration["source_compute"]) == ("done", server, host)


def test_a_host_that_falls_silent_is_lost_after_a_while(tmp_path: Path) -> None:
    with losing(tmp_path, node_silence=2.0) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        began = time.monotonic()
        cloud.away.add(host)
        cloud.cloud.loop.call_soon_threadsafe(cloud.engine.wake, "availability", host)
        deadline = began + 15
        while cloud.record(server).host == host and time.monotonic() < deadline:
            cloud.engine.scan_soon()
            cloud.rest()
        assert cloud.elsewhere(server, host)
        assert time.monotonic() - began > 1.5
        assert cloud.fenced == [host]


def test_nothing_moves_before_the_host_is_known_to_be_off(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.break_fence()
        cloud.lose(host)
        cloud.turn(host, 3)
        assert len(cloud.fenced) >= 3  # it is tried again and again
        assert cloud.record(server).host == host and cloud.evacuation(server) is None
        said = cloud.host_view(host)["fence_error"]
        assert "the switch does not answer" in said and host in said
        cloud.break_fence(False)
        cloud.elsewhere(server, host)
        assert cloud.host_view(host)["fence_error"] is None


def test_without_a_way_to_fence_nothing_moves_and_the_host_says_why(tmp_path: Path) -> None:
    with losing(tmp_path, fencing={}) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.lose(host)
        cloud.turn(host)
        assert cloud.record(server).host == host
        assert "No way to fence" in cloud.host_view(host)["fence_error"]
        cloud.regain(host)
        cloud.until(lambda: cloud.host_view(host)["fence_error"] is None, "the host is as others again")


def test_what_a_failing_fence_left_to_say_goes_when_the_host_is_back(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.break_fence()
        cloud.lose(host, power_off=False)
        cloud.until(lambda: cloud.host_view(host)["fence_error"], "it could not be fenced")
        cloud.regain(host)
        cloud.until(lambda: cloud.host_view(host)["fence_error"] is None, "nothing is left to say")
        assert cloud.guests(server) == {host: "running"}


@pytest.mark.parametrize(
    ("policy", "fields", "moves"),
    [("marked", MARKED, True), ("marked", {}, False), ("all", {}, True), ("none", MARKED, False)],
    ids=["marked", "not marked", "all", "none"],
)
def test_policy_says_which_servers_start_elsewhere(tmp_path: Path, policy: str, fields: dict[str, Any], moves: bool) -> None:
    with losing(tmp_path, evacuate=policy) as cloud:
        server = cloud.placed(**fields)
        host = str(cloud.record(server).host)
        cloud.lose(host)
        if moves:
            cloud.elsewhere(server, host)
        else:
            cloud.turn(host, 1)
            assert cloud.record(server).host == host
            assert cloud.fenced == []


def test_servers_whose_disks_are_lost_with_the_host_stay(tmp_path: Path) -> None:
    with losing(tmp_path, shared_disks=False) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.lose(host)
        cloud.turn(host, 1)
        assert cloud.record(server).host == host and cloud.fenced == []


def test_a_host_that_does_not_see_the_disks_is_not_chosen(tmp_path: Path) -> None:
    with losing(tmp_path, hosts=2) as cloud:
        server = cloud.placed(**MARKED)
        host, blind = str(cloud.record(server).host), cloud.other(server)
        cloud.agents[blind].shared_disks = False
        cloud.until(lambda: not cloud.host_row(blind).report.shared_disks, "it has reported that")
        cloud.lose(host)
        cloud.until(lambda: cloud.evacuation(server), "an evacuation is asked for")
        cloud.turn(host)
        assert cloud.record(server).host == host
        ((_, result, details),) = cloud.events(server, "evacuate")
        assert result is None and "does not see the disks" in str(details)


def test_what_fits_nowhere_waits_says_so_and_starts_when_there_is_room(tmp_path: Path) -> None:
    with losing(tmp_path, hosts=2) as cloud:
        server = cloud.placed(**MARKED)
        host, other = str(cloud.record(server).host), cloud.other(server)
        cloud.service(other, status="disabled")
        cloud.lose(host)
        cloud.until(lambda: cloud.evacuation(server), "an evacuation is asked for")
        cloud.turn(host)
        assert cloud.record(server).host == host
        ((name, result, details),) = cloud.events(server, "evacuate")
        assert (name, result) == ("compute_rebuild_instance", None) and "tried again" in str(details)
        cloud.service(other, status="enabled")
        assert cloud.elsewhere(server, host) == other
        assert [one[1] for one in cloud.events(server, "evacuate")] == ["Success"]
        assert len([one for one in cloud.fenced if one == host]) == 1  # it was off already


def test_one_that_fits_nowhere_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with losing(tmp_path, hosts=2) as cloud:
        answer = cloud.call("POST", "/flavors", {"flavor": {"name": "wide", "ram": 512, "vcpus": 60, "disk": 1, "id": "wide"}}, who="admin")
        assert answer.status == 200, answer
        wide = cloud.placed("wide", "wide", **MARKED)
        host = str(cloud.record(wide).host)
        beside = cloud.placed("beside", availability_zone=f"nova:{host}", who="admin", networks="none", **MARKED)
        other = cloud.other(wide)
        filler = cloud.placed(
            "filler", "wide", availability_zone=f"nova:{other}", who="admin", networks="none", metadata={"HA_Enabled": "no"}
        )
        _narrow(cloud, other)
        cloud.lose(host)
        cloud.elsewhere(beside, host)
        assert cloud.record(wide).host == host and cloud.record(filler).host == other


def _narrow(cloud: Losing, host: str) -> None:
    """No CPU is promised twice there."""
    provider = cloud.cloud.call("GET", f"/placement/resource_providers?name={host}", "admin").json["resource_providers"][0]
    path = f"/placement/resource_providers/{provider['uuid']}/inventories/VCPU"
    stock = cloud.cloud.call("GET", path, "admin").json
    answer = cloud.cloud.call("PUT", path, "admin", {**stock, "allocation_ratio": 1.0, "reserved": 0})
    assert answer.status == 200, answer


def test_a_server_that_is_deleted_meanwhile_does_not_start_elsewhere(tmp_path: Path) -> None:
    with losing(tmp_path, hosts=2) as cloud:
        server = cloud.placed(**MARKED)
        host, other = str(cloud.record(server).host), cloud.other(server)
        cloud.service(other, status="disabled")
        cloud.lose(host, power_off=False)
        cloud.until(lambda: cloud.evacuation(server), "an evacuation is asked for")
        assert cloud.call("DELETE", f"/servers/{server}").status == 204
        cloud.service(other, status="enabled")
        cloud.until(lambda: cloud.evacuation(server).step == "done", "the evacuation is over")  # type: ignore[union-attr]
        assert cloud.evacuation(server).status == "cancelled"  # type: ignore[union-attr]
        cloud.regain(host)
        cloud.until(lambda: cloud.record(server).removed_at, "it is gone")
        assert cloud.guests(server) == {}


def test_a_host_that_comes_back_removes_what_is_no_longer_its_own(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.lose(host, power_off=False)
        there = cloud.elsewhere(server, host)
        assert set(cloud.guests(server)) == {host, there}
        cloud.regain(host)
        cloud.until(lambda: cloud.evacuation(server).step == "done", "the host is clean")  # type: ignore[union-attr]
        one_copy(cloud, server)
        cloud.until(lambda: cloud.host_row(host).fenced_at is None, "it is as others again")
        assert cloud.record(server).host == there


def test_a_host_that_is_back_too_soon_keeps_what_did_not_start_elsewhere(tmp_path: Path) -> None:
    with losing(tmp_path, hosts=2) as cloud:
        server = cloud.placed(**MARKED)
        host, other = str(cloud.record(server).host), cloud.other(server)
        cloud.service(other, status="disabled")
        cloud.lose(host, power_off=False)
        cloud.until(lambda: cloud.evacuation(server), "an evacuation is asked for")
        cloud.regain(host)
        cloud.until(lambda: cloud.evacuation(server).step == "done", "the evacuation is over")  # type: ignore[union-attr]
        cloud.service(other, status="enabled")
        cloud.wait(server)
        one_copy(cloud, server)
        assert cloud.record(server).host == host
        assert cloud.evacuation(server).status == "cancelled"  # type: ignore[union-attr]
        ((_, result, details),) = cloud.events(server, "evacuate")
        assert result == "Error" and "is back" in str(details)


def test_a_server_goes_on_from_host_to_host_as_they_are_lost(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        first = str(cloud.record(server).host)
        cloud.lose(first, power_off=False)
        second = cloud.elsewhere(server, first)
        cloud.lose(second, power_off=False)
        third = cloud.elsewhere(server, second)
        assert {first, second, third} == {"h1", "h2", "h3"}
        for host in (first, second):
            cloud.regain(host)
        cloud.until(lambda: cloud.guests(server) == {third: "running"}, "only one copy is left")
        cloud.until(lambda: cloud.host_row(second).fenced_at is None, "all is as before")
        one_copy(cloud, server)


# -- while it moves -------------------------------------------------------------------------------------------------------------------


def moving(cloud: Losing) -> tuple[str, str, str]:
    """(server, source, destination) of a live migration that does not end by itself."""
    server = cloud.placed("dirty", "dirty", **MARKED)
    answer = cloud.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"}, who="admin")
    assert answer.status == 202, answer
    cloud.until(lambda: cloud.migration(server).step == "send" and cloud.migration(server).started_at, "it is being sent")
    migration = cloud.migration(server)
    return server, migration.source, str(migration.destination)


def test_the_source_of_a_live_migration_is_lost(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server, source, _ = moving(cloud)
        move = cloud.migration(server)
        cloud.lose(source)
        there = cloud.elsewhere(server, source)
        cloud.until(lambda: cloud.guests(server) == {there: "running"}, "one copy is left")
        ended = cloud.cloud.run(_migration(cloud, move.id))
        assert ended.status == "error"
        assert "was lost" in ended.error or f"Host {source} is down" in ended.error, "whichever sees it first ends the move"
        assert cloud.shares(move.id) == {} and set(cloud.shares(server)) == {there}
        assert cloud.port_hosts(server) == {(there, None)}
        cloud.regain(source)
        cloud.until(lambda: cloud.evacuation(server).step == "done", "the host is clean")  # type: ignore[union-attr]
        one_copy(cloud, server)


def test_the_destination_of_a_live_migration_is_lost_before_it_has_the_server(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server, source, destination = moving(cloud)
        cloud.lose(destination)
        cloud.turn(destination, 1)
        assert cloud.record(server).host == source
        assert cloud.evacuation(server) is None
        assert cloud.guests(server)[source] in ("running", "paused")


def test_the_destination_of_a_live_migration_is_lost_when_it_has_the_server(tmp_path: Path) -> None:
    """The records gave it the server; it is lost before it says that it runs it."""
    with losing(tmp_path, hosts=4) as cloud:
        request, lost = cloud.cloud.bus.request, []

        async def gone(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
            if type(message).__name__ == "FinishIncoming" and not lost:
                lost.append(host)
                cloud.away.add(host)
            return await request(host, message, timeout)

        cloud.cloud.bus.request = gone  # type: ignore[method-assign]
        server = cloud.placed(**MARKED)
        source = str(cloud.record(server).host)
        assert cloud.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"}, who="admin").status == 202
        cloud.until(lambda: lost and cloud.migration(server).step == "finish", "the destination has it and is gone")
        move, destination = cloud.migration(server), str(cloud.record(server).host)
        assert destination == lost[0] != source
        cloud.lose(destination)
        there = cloud.elsewhere(server, destination)
        assert there not in (source, destination)
        cloud.until(lambda: cloud.guests(server) == {there: "running"}, "the source's copy is gone")
        assert cloud.cloud.run(_migration(cloud, move.id)).status == "error"
        cloud.regain(destination)
        cloud.until(lambda: cloud.evacuation(server).step == "done", "the host is clean")  # type: ignore[union-attr]
        cloud.until(lambda: not cloud.shares(move.id), "the move holds nothing")
        one_copy(cloud, server)
        assert cloud.show(server)["status"] == "ACTIVE"


async def _migration(cloud: Losing, id: str) -> Any:
    return await migration_records.get(cloud.cloud.db, id)


def test_a_server_that_waits_to_be_confirmed_waits_for_its_host(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        assert cloud.act(server, "migrate", who="admin").status == 202
        cloud.wait(server, "VERIFY_RESIZE")
        host = str(cloud.record(server).host)
        cloud.lose(host, power_off=False)
        cloud.turn(host, 1)
        assert cloud.record(server).host == host and cloud.evacuation(server) is None
        cloud.regain(host)
        assert cloud.act(server, "confirmResize").status == 204
        cloud.wait(server)
        cloud.until(lambda: cloud.guests(server) == {host: "running"}, "one copy is left")


def test_a_host_that_never_comes_back_can_be_forgotten(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.lose(host)
        there = cloud.elsewhere(server, host)
        service = cloud.call("GET", f"/os-services?host={host}&binary=nova-compute", who="admin").json["services"][0]["id"]
        answer = cloud.call("DELETE", f"/os-services/{service}", who="admin")
        assert answer.status == 204, answer
        assert cloud.evacuation(server).step == "done"  # type: ignore[union-attr]
        cloud.rest()
        assert set(cloud.shares(server)) == {there}
        assert cloud.host_row(host) is None


def test_a_wrong_setting_is_shown_at_the_host(tmp_path: Path) -> None:
    with losing(tmp_path, fencing={"*": "ssh://root@board"}) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.lose(host)
        cloud.until(lambda: "is none of command:PROGRAM" in (cloud.host_view(host)["fence_error"] or ""), "the host shows it")
        assert cloud.record(server).host == host


def test_a_server_that_is_suspended_waits_for_its_host(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        assert cloud.act(server, "suspend").status == 202
        cloud.wait(server, "SUSPENDED")
        host = str(cloud.record(server).host)
        cloud.lose(host, power_off=False)
        cloud.turn(host, 1)
        assert cloud.record(server).host == host and cloud.fenced == []
        cloud.regain(host)
        assert cloud.act(server, "resume").status == 202
        cloud.wait(server)


def test_a_server_that_was_to_be_suspended_starts_stopped(tmp_path: Path) -> None:
    with losing(tmp_path) as cloud:
        server = cloud.placed(**MARKED)
        host = str(cloud.record(server).host)
        cloud.away.add(host)
        assert cloud.act(server, "suspend").status == 202
        cloud.lose(host)
        there = cloud.elsewhere(server, host)
        assert cloud.guests(server) == {there: "stopped"}
        assert cloud.show(server)["status"] == "SHUTOFF"
        assert ("compute_suspend_instance", "Error", f"{host} was lost.") in cloud.events(server, "suspend")
