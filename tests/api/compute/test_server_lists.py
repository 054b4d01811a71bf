"""Lists of servers: filters, order, paging, who sees what."""

import time
from typing import Any

import pytest

from pileus.store import servers
from tests.api.compute.conftest import Compute


@pytest.fixture
def three(compute: Compute) -> dict[str, str]:
    """Servers by name: web-1 runs, web-2 is stopped, db is still to be placed."""
    found = {"web-1": compute.running("web-1", tags=["red", "big"], metadata={"a": "b"}), "web-2": compute.running("web-2", tags=["red"])}
    compute.act(found["web-2"], "os-stop")
    compute.settle(found["web-2"])
    found["db"] = compute.create("db", flavorRef="2", description="the data")
    return found


def names(compute: Compute, query: str, **rest: Any) -> list[str]:
    """The names in a list, in order of name."""
    answer = compute.call("GET", f"/servers/detail?{query}", **rest)
    assert answer.status == 200, answer
    return sorted(one["name"] for one in answer.json["servers"])


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", ["db", "web-1", "web-2"]),
        ("name=web", ["web-1", "web-2"]),
        ("name=^d.$", ["db"]),
        ("name=WEB-1", ["web-1"]),
        ("status=ACTIVE", ["web-1"]),
        ("status=shutoff", ["web-2"]),
        ("status=ACTIVE&status=BUILD", ["db", "web-1"]),
        ("status=RESIZE", []),
        ("vm_state=stopped", ["web-2"]),
        ("power_state=1", ["web-1"]),
        ("task_state=scheduling", ["db"]),
        ("flavor=2", ["db"]),
        ("image=none", []),
        ("tags=red,big", ["web-1"]),
        ("tags-any=big,small", ["web-1"]),
        ("not-tags=red", ["db"]),
        ("not-tags-any=big", ["db", "web-2"]),
        ("locked=true", []),
        ("locked=false&name=db", ["db"]),
        ("availability_zone=nova", ["web-1", "web-2"]),
        ("config_drive=true", []),
        ("ip=10.1", ["db", "web-1", "web-2"]),
        ("ip=10.9", []),
        ("ip6=fd", []),
        ("changes-since=2020-01-01T00:00:00Z", ["db", "web-1", "web-2"]),
        ("changes-before=2020-01-01T00:00:00Z", []),
        ("host=elsewhere", ["db", "web-1", "web-2"]),
    ],
)
def test_filters(compute: Compute, three: dict[str, str], query: str, wanted: list[str]) -> None:
    assert names(compute, query) == wanted


def test_some_filters_are_for_administrators(compute: Compute, three: dict[str, str]) -> None:
    assert names(compute, "host=one", who="admin") == []
    assert names(compute, "host=one&all_tenants=1", who="admin") == ["web-1", "web-2"]
    assert names(compute, f"all_tenants=1&project_id={compute.cloud.project_id()}&description=data", who="admin") == ["db"]
    assert names(compute, f"uuid={three['db']}&all_tenants=1", who="admin") == ["db"]
    assert compute.call("GET", "/servers?all_tenants=1").status == 403
    assert compute.call("GET", "/servers?all_tenants=1", who="reader").status == 403
    assert names(compute, "", who="other_project_member") == []


def test_bad_filters_are_refused(compute: Compute, three: dict[str, str]) -> None:
    for query in (
        "status=odd",
        "name=(",
        "changes-since=never",
        "limit=-1",
        "limit=x",
        "unknown=1",
        "sort_key=secret",
        "sort_dir=odd",
        "marker=none",
    ):
        assert compute.call("GET", f"/servers?{query}").status == 400, query
    for query in ("unknown=1", "sort_key=secret", "tags=red"):
        assert names(compute, query, version="2.1") == ["db", "web-1", "web-2"], query
    assert names(compute, "status=odd", version="2.37") == []


def test_order_and_pages(compute: Compute, three: dict[str, str]) -> None:
    listed = [one["name"] for one in compute.call("GET", "/servers?sort_key=display_name&sort_dir=asc").json["servers"]]
    assert listed == ["db", "web-1", "web-2"]
    assert compute.call("GET", "/servers").json["servers"][0]["name"] == "db"  # the newest first
    seen: list[str] = []
    path = "/servers/detail?limit=1&name=e&sort_key=display_name&sort_dir=desc"
    while path:
        page = compute.call("GET", path).json
        seen += [one["name"] for one in page["servers"]]
        path = page["servers_links"][0]["href"].partition("/v2.1")[2] if "servers_links" in page else ""
    assert seen == ["web-2", "web-1"]


def test_deleted_servers_are_shown_to_administrators_and_in_changes(compute: Compute, three: dict[str, str]) -> None:
    gone = three["db"]
    compute.call("DELETE", f"/servers/{gone}")
    compute.cloud.write(lambda tx: servers.record_removed(tx, gone, time.time()))
    assert compute.call("GET", f"/servers/{gone}").status == 404
    assert names(compute, "") == ["web-1", "web-2"]
    assert names(compute, "changes-since=2020-01-01T00:00:00Z") == ["db", "web-1", "web-2"]
    assert names(compute, "deleted=true") == ["web-1", "web-2"]
    assert names(compute, "deleted=true&all_tenants=1", who="admin") == ["db"]
    assert compute.call("GET", "/servers?status=DELETED").status == 403
    listed = compute.call("GET", "/servers/detail?status=DELETED&all_tenants=1", who="admin").json["servers"]
    assert [(one["name"], one["status"]) for one in listed] == [("db", "DELETED")]


def test_a_list_shows_each_change_at_once(compute: Compute) -> None:
    server = compute.running()
    first = compute.call("GET", "/servers/detail").json["servers"][0]
    compute.call("PUT", f"/servers/{server}", {"server": {"name": "renamed"}})
    assert compute.call("GET", "/servers/detail").json["servers"][0]["name"] == "renamed"
    port = compute.call("GET", f"/servers/{server}/os-interface").json["interfaceAttachments"][0]["port_id"]
    compute.cloud.call("PUT", f"/network/v2.0/ports/{port}", "member", {"port": {"fixed_ips": [{"ip_address": "10.1.9.9"}]}})
    after = compute.call("GET", "/servers/detail").json["servers"][0]
    assert after["addresses"]["private"][0]["addr"] == "10.1.9.9" != first["addresses"]["private"][0]["addr"]
    compute.cloud.call("PUT", f"/network/v2.0/networks/{compute.network}", "member", {"network": {"name": "inside"}})
    assert list(compute.call("GET", "/servers/detail").json["servers"][0]["addresses"]) == ["inside"]


def test_administrators_see_hosts_and_users_do_not(compute: Compute) -> None:
    server = compute.running()
    mine, all_of_it = compute.show(server), compute.show(server, who="admin")
    assert "OS-EXT-SRV-ATTR:host" not in mine
    assert all_of_it["OS-EXT-SRV-ATTR:host"] == "one"
    assert all_of_it["host_status"] == "UP"
    assert mine["hostId"] == all_of_it["hostId"] != ""
    listed = compute.call("GET", "/servers/detail?all_tenants=1", who="admin").json["servers"][0]
    assert listed["OS-EXT-SRV-ATTR:host"] == "one"
    assert "OS-EXT-SRV-ATTR:host" not in compute.call("GET", "/servers/detail").json["servers"][0]


def test_a_limit_of_zero_is_an_empty_page(compute: Compute, three: dict[str, str]) -> None:
    assert compute.call("GET", "/servers?limit=0").json == {"servers": []}
    assert compute.call("GET", "/servers/detail?limit=0").json == {"servers": []}
    assert compute.call("GET", "/flavors?limit=0").json == {"flavors": []}
