"""Servers: create, list, show, change, delete."""

import pytest

from tests.api.compute.conftest import Compute


def test_a_new_server_is_accepted_and_shown(compute: Compute) -> None:
    server = compute.create(metadata={"a": "b"}, tags=["red"], description="mine")
    shown = compute.show(server)
    assert shown["status"] == "BUILD"
    assert shown["OS-EXT-STS:task_state"] == "scheduling"
    assert shown["metadata"] == {"a": "b"}
    assert shown["tags"] == ["red"]
    assert shown["flavor"]["original_name"] == "m1.tiny"
    assert shown["image"]["properties"] == {"os_distro": "debian"}
    assert [one["addr"].startswith("10.1.") for one in shown["addresses"]["private"]] == [True]
    assert shown["security_groups"] == [{"name": "default"}]
    assert ("servers", server) in compute.cloud.woken


def test_a_deleted_server_is_going(compute: Compute) -> None:
    server = compute.create()
    assert compute.call("DELETE", f"/servers/{server}").status == 204
    assert compute.show(server)["OS-EXT-STS:task_state"] == "deleting"


def test_lists_are_paged_with_links(compute: Compute) -> None:
    made = [compute.create(f"s{index}") for index in range(3)]
    page = compute.call("GET", "/servers?limit=2").json
    assert len(page["servers"]) == 2
    assert f"marker={page['servers'][1]['id']}" in page["servers_links"][0]["href"]
    rest = compute.call("GET", f"/servers/detail?limit=2&marker={page['servers'][1]['id']}").json
    assert {one["id"] for one in page["servers"] + rest["servers"]} == set(made)


@pytest.mark.parametrize("version", ["2.1", "2.47", "2.104"])
def test_a_detailed_list_shows_what_show_shows(compute: Compute, version: str) -> None:
    server = compute.create()
    listed = compute.call("GET", "/servers/detail", version=version).json["servers"][0]
    shown = compute.show(server, version=version)
    shown.pop("server_groups", None)
    assert listed == shown
    again = compute.call("GET", "/servers/detail", version=version).json["servers"][0]
    assert again == shown
