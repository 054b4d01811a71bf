"""The action evacuate, as an administrator asks for it: its bodies by microversion, its refusals, and what becomes of the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.store import servers
from tests.api.compute.losing import Losing, fence_command, looks_often  # noqa: F401 a fixture
from tests.api.harness import TestCloud

VERSIONS = ["2.1", "2.13", "2.14", "2.28", "2.29", "2.67", "2.68", "2.94", "2.95", "2.104"]


def made(directory: Path, **settings: Any) -> Iterator[Losing]:
    shared_disks = settings.pop("shared_disks", True)
    cloud = TestCloud(evacuate="none", **settings)
    one = Losing(cloud, directory, 3, shared_disks)
    yield one
    one.close()
    cloud.close()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Losing]:
    """Three hosts that share disks, and none is fenced: the caller's word counts."""
    yield from made(tmp_path_factory.mktemp("evacuate"))


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Losing]:
    """Three hosts with disks of their own."""
    yield from made(tmp_path, shared_disks=False)


@pytest.fixture
def server(cloud: Losing) -> Iterator[str]:
    """A server whose host is lost; all is as before in the end."""
    one = cloud.placed()
    host = str(cloud.record(one).host)
    yield one
    cloud.call("DELETE", f"/servers/{one}", who="admin")
    for name in cloud.names:
        cloud.regain(name)
        cloud.service(name, status="enabled")
    cloud.until(lambda: cloud.record(one).removed_at, f"the server, first of {host}, is gone")
    cloud.until(lambda: all(cloud.host_row(name).fenced_at is None for name in cloud.names), "all hosts are as others")
    cloud.rest()


def ask(cloud: Losing, server: str, version: str = "2.104", who: str = "admin", **body: Any) -> Any:
    if version in ("2.1", "2.13"):
        body.setdefault("onSharedStorage", "False")
    return cloud.act(server, "evacuate", body, who=who, version=version)


def lost(cloud: Losing, server: str) -> str:
    host = str(cloud.record(server).host)
    cloud.lose(host)
    return host


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_whose_host_is_lost_starts_elsewhere(cloud: Losing, server: str, version: str) -> None:
    host = lost(cloud, server)
    answer = ask(cloud, server, version)
    assert answer.status == 200, answer
    old = version in ("2.1", "2.13")
    assert answer.json["adminPass"] if old else answer.body == b""
    there = cloud.elsewhere(server, host)
    stopped = version in ("2.95", "2.104")
    assert cloud.show(server)["status"] == ("SHUTOFF" if stopped else "ACTIVE")
    assert cloud.guests(server) == {there: "stopped" if stopped else "running"}
    assert cloud.events(server, "evacuate")[0] == ("compute_rebuild_instance", "Success", None)


def test_the_password_that_was_given_is_the_one_that_is_answered(cloud: Losing, server: str) -> None:
    lost(cloud, server)
    assert ask(cloud, server, "2.13", adminPass="of my choice").json == {"adminPass": "of my choice"}


def test_a_disk_that_stays_keeps_its_password(cloud: Losing, server: str) -> None:
    host = lost(cloud, server)
    assert ask(cloud, server, "2.13", onSharedStorage="True", adminPass="x").status == 400
    assert ask(cloud, server, "2.13", onSharedStorage="True").json == {"adminPass": None}
    cloud.elsewhere(server, host)


def test_it_goes_to_the_host_that_is_asked_for(cloud: Losing, server: str) -> None:
    host = lost(cloud, server)
    other = cloud.names[-1] if host != cloud.names[-1] else cloud.names[0]
    assert ask(cloud, server, host=other).status == 200
    assert cloud.elsewhere(server, host) == other


def test_forced_it_goes_there_although_it_takes_no_servers(cloud: Losing, server: str) -> None:
    host = lost(cloud, server)
    other = cloud.other(server)
    cloud.service(other, status="disabled")
    assert ask(cloud, server, "2.67", host=other, force="True").status == 200
    assert cloud.elsewhere(server, host) == other


def test_a_host_that_can_not_take_it_ends_the_evacuation(cloud: Losing, server: str) -> None:
    host, other = lost(cloud, server), cloud.other(server)
    cloud.service(other, status="disabled")
    assert ask(cloud, server, "2.94", host=other).status == 200
    cloud.until(lambda: cloud.evacuation(server).step == "done", "it is over")  # type: ignore[union-attr]
    assert cloud.evacuation(server).status == "error"  # type: ignore[union-attr]
    assert cloud.record(server).host == host
    ((_, result, details),) = cloud.events(server, "evacuate")
    assert result == "Error" and details
    assert ask(cloud, server, "2.94").status == 200  # another one may be asked for
    assert cloud.elsewhere(server, host) != other


def test_a_host_that_is_up_is_not_evacuated(cloud: Losing, server: str) -> None:
    answer = ask(cloud, server)
    assert answer.status == 400
    assert "still in use" in answer.json["badRequest"]["message"]


def test_hosts_that_can_not_be_meant_are_refused(cloud: Losing, server: str) -> None:
    host = lost(cloud, server)
    assert ask(cloud, server, host="nowhere").status == 404
    assert ask(cloud, server, host=host).status == 400
    assert ask(cloud, server, "2.67", force=True).status == 400
    assert cloud.evacuation(server) is None


@pytest.mark.parametrize(
    ("version", "body"),
    [
        ("2.104", {"onSharedStorage": "False"}),
        ("2.14", {"onSharedStorage": "False"}),
        ("2.28", {"force": True, "host": "h1"}),
        ("2.68", {"force": True, "host": "h1"}),
        ("2.104", {"host": None}),
        ("2.104", {"host": ""}),
        ("2.104", {"host": "a host"}),
        ("2.104", {"host": "h" * 256}),
        ("2.104", {"adminPass": None}),
        ("2.104", {"adminPass": 1}),
        ("2.67", {"host": "h1", "force": "perhaps"}),
        ("2.13", {"onSharedStorage": "perhaps"}),
        ("2.104", {"more": 1}),
    ],
)
def test_bodies_that_nova_refuses_are_refused(cloud: Losing, server: str, version: str, body: dict[str, Any]) -> None:
    lost(cloud, server)
    answer = cloud.act(server, "evacuate", body, who="admin", version=version)
    assert answer.status == 400, answer


def test_below_2_14_it_is_to_be_said_whether_the_disks_are_shared(cloud: Losing, server: str) -> None:
    lost(cloud, server)
    assert cloud.act(server, "evacuate", {}, who="admin", version="2.13").status == 400


def test_it_is_asked_for_once(cloud: Losing, server: str) -> None:
    host = lost(cloud, server)
    for name in cloud.names:
        if name != host:
            cloud.service(name, status="disabled")
    assert ask(cloud, server).status == 200
    answer = ask(cloud, server)
    assert answer.status == 409
    assert "already" in answer.json["conflictingRequest"]["message"]


def test_states_in_which_it_can_not_be(cloud: Losing, server: str) -> None:
    assert cloud.act(server, "pause").status == 202
    cloud.wait(server, "PAUSED")
    lost(cloud, server)
    assert ask(cloud, server).status == 409


def test_what_was_being_done_when_the_host_was_lost_does_not_matter(cloud: Losing, server: str) -> None:
    host = str(cloud.record(server).host)
    cloud.lose(host)
    assert cloud.act(server, "reboot", {"type": "HARD"}).status == 202
    assert cloud.record(server).task_state is not None
    assert ask(cloud, server, "2.94").status == 200
    assert cloud.elsewhere(server, host)
    cloud.wait(server)


def test_a_stopped_server_stays_stopped(cloud: Losing, server: str) -> None:
    assert cloud.act(server, "os-stop").status == 202
    cloud.wait(server, "SHUTOFF")
    host = lost(cloud, server)
    assert ask(cloud, server, "2.94").status == 200
    there = cloud.elsewhere(server, host)
    assert cloud.guests(server) == {there: "stopped"}


def test_a_locked_server_is_the_administrators_to_evacuate(cloud: Losing, server: str) -> None:
    assert cloud.act(server, "lock", {}).status == 202
    host = lost(cloud, server)
    assert ask(cloud, server).status == 200
    cloud.elsewhere(server, host)


def test_a_server_that_is_not_there_is_not_found(cloud: Losing) -> None:
    assert ask(cloud, "00000000-0000-0000-0000-000000000000").status == 404


def test_one_that_is_in_error_is_evacuated(cloud: Losing, server: str) -> None:
    assert cloud.act(server, "os-resetState", {"state": "error"}, who="admin").status == 202
    host = lost(cloud, server)
    assert ask(cloud, server, "2.94").status == 200
    cloud.elsewhere(server, host)
    cloud.wait(server)


def test_only_what_was_asked_for_leaves_a_host_that_nobody_fences(tmp_path: Path) -> None:
    cloud = TestCloud(evacuate="all")
    hosts = Losing(cloud, tmp_path, 2)
    try:
        one = hosts.placed("one", flavor="1")
        host = str(hosts.record(one).host)
        hosts.service(hosts.other(one), status="disabled")
        two = hosts.placed("two", flavor="1")
        hosts.service(hosts.other(one), status="enabled")
        assert hosts.record(two).host == host
        hosts.lose(host)
        assert ask(hosts, one, "2.94").status == 200
        hosts.elsewhere(one, host)
        hosts.turn(host)
        assert hosts.record(two).host == host
    finally:
        hosts.close()
        cloud.close()


def test_where_a_fence_is_configured_it_comes_first(tmp_path: Path) -> None:
    cloud = TestCloud(evacuate="none", fencing={"*": fence_command(tmp_path)})
    hosts = Losing(cloud, tmp_path, 2)
    try:
        server = hosts.placed()
        hosts.break_fence()
        host = lost(hosts, server)
        assert ask(hosts, server, "2.94").status == 200
        hosts.turn(host)
        assert hosts.record(server).host == host
        hosts.break_fence(False)
        hosts.elsewhere(server, host)
    finally:
        hosts.close()
        cloud.close()


def test_without_shared_disks_it_is_built_anew_from_its_image(apart: Losing) -> None:
    server = apart.placed()
    host = lost(apart, server)
    answer = ask(apart, server, "2.94")
    assert answer.status == 200, answer
    there = apart.elsewhere(server, host)
    guest = apart.drivers[there]._states[server].guest
    assert guest.disks[0].image is not None
    assert apart.guests(server) == {there: "running"}
    apart.regain(host)
    apart.until(lambda: apart.evacuation(server).step == "done", "the host is clean")  # type: ignore[union-attr]
    assert apart.guests(server) == {there: "running"}


def test_a_server_that_is_deleted_and_waits_for_its_host_is_not_evacuated(apart: Losing) -> None:
    server = apart.placed()
    lost(apart, server)
    assert apart.call("DELETE", f"/servers/{server}").status == 204
    assert apart.cloud.run(servers.SERVERS.get(apart.cloud.db, server)).deleted_at is not None  # type: ignore[union-attr]
    assert ask(apart, server).status in (404, 409)


@pytest.mark.parametrize("who", ["member", "manager", "reader"])
def test_nobody_but_an_administrator_may(cloud: Losing, server: str, who: str) -> None:
    assert ask(cloud, server, who=who).status == 403


def test_a_host_that_is_back_before_anything_has_started_keeps_its_server_running(cloud: Losing, server: str) -> None:
    host = str(cloud.record(server).host)
    for name in cloud.names:
        if name != host:
            cloud.service(name, status="disabled")
    cloud.lose(host, power_off=False)
    assert ask(cloud, server, "2.104").status == 200
    cloud.regain(host)
    cloud.until(lambda: cloud.evacuation(server).step == "done", "the evacuation is over")  # type: ignore[union-attr]
    cloud.wait(server)
    assert cloud.guests(server) == {host: "running"}
