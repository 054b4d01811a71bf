"""Actions of servers: what they want, when they are refused."""

import pytest

from pileus.model.guests import Power
from pileus.model.images import ImageStatus
from pileus.model.servers import ServerFault
from pileus.store import servers
from pileus.store.database import Transaction
from pileus.store.images import IMAGES
from tests.api.compute.conftest import Compute


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        (["os-stop"], "SHUTOFF"),
        (["os-stop", "os-start"], "ACTIVE"),
        (["pause"], "PAUSED"),
        (["pause", "unpause"], "ACTIVE"),
        (["suspend"], "SUSPENDED"),
        (["suspend", "resume"], "ACTIVE"),
    ],
)
def test_power_follows_the_action(compute: Compute, steps: list[str], status: str) -> None:
    server = compute.running()
    for step in steps:
        assert compute.act(server, step).status == 202
        assert compute.show(server)["OS-EXT-STS:task_state"] is not None
        compute.settle(server)
    shown = compute.show(server)
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == (status, None)


@pytest.mark.parametrize("action", ["os-start", "unpause", "resume"])
def test_an_action_in_the_wrong_state_is_a_conflict(compute: Compute, action: str) -> None:
    server = compute.running()
    answer = compute.act(server, action)
    assert answer.status == 409
    name = action.removeprefix("os-")
    assert answer.json["conflictingRequest"]["message"] == f"Cannot '{name}' instance {server} while it is in vm_state active"


def test_two_actions_at_once_are_a_conflict(compute: Compute) -> None:
    server = compute.running()
    assert compute.act(server, "os-stop").status == 202
    answer = compute.act(server, "pause")
    assert answer.status == 409
    assert "task_state powering-off" in answer.json["conflictingRequest"]["message"]


def test_reboots_are_counted(compute: Compute) -> None:
    server = compute.running()
    assert compute.act(server, "reboot", {"type": "SOFT"}).status == 202
    assert compute.show(server)["status"] == "REBOOT"
    compute.settle(server)
    assert compute.act(server, "reboot", {"type": "HARD"}).status == 202
    assert compute.show(server)["status"] == "HARD_REBOOT"
    row = compute.cloud.run(servers.get(compute.cloud.db, server))
    assert (row.reboots_soft, row.reboots_hard) == (1, 1)
    assert compute.act(server, "reboot", {"type": "odd"}).status == 400
    assert compute.act(server, "reboot", {}).status == 400


def test_a_hard_reboot_starts_a_stopped_server(compute: Compute) -> None:
    server = compute.running()
    compute.act(server, "os-stop")
    compute.settle(server)
    assert compute.act(server, "reboot", {"type": "SOFT"}).status == 409
    assert compute.act(server, "reboot", {"type": "HARD"}).status == 202
    assert compute.cloud.run(servers.get(compute.cloud.db, server)).power == Power.RUNNING


def test_a_locked_server_is_for_administrators(compute: Compute) -> None:
    server = compute.running()
    assert compute.act(server, "lock", {"locked_reason": "mine"}).status == 202
    shown = compute.show(server)
    assert (shown["locked"], shown["locked_reason"]) == (True, "mine")
    for method, path, body in (
        ("POST", "/action", {"os-stop": None}), ("DELETE", "", None), ("PUT", "", {"server": {"name": "x"}}),
        ("PUT", "/metadata", {"metadata": {}}),
    ):  # fmt: skip
        answer = compute.call(method, f"/servers/{server}{path}", body)
        assert answer.status == 409
        assert "is locked" in answer.json["conflictingRequest"]["message"]
    assert compute.act(server, "os-stop", who="admin").status == 202
    assert compute.act(server, "unlock").status == 202
    assert compute.show(server)["locked_reason"] is None


def test_what_an_administrator_locked_an_owner_cannot_unlock(compute: Compute) -> None:
    server = compute.running()
    compute.act(server, "lock", who="admin")
    assert compute.act(server, "unlock").status == 403
    assert compute.act(server, "unlock", who="admin").status == 202


def test_versions_before_2_73_lock_without_a_reason(compute: Compute) -> None:
    server = compute.running()
    assert compute.act(server, "lock", {"anything": 1}, version="2.72").status == 202
    assert compute.show(server)["locked_reason"] is None


def test_rebuild_makes_the_disk_anew_and_keeps_the_address(compute: Compute) -> None:
    server = compute.running()
    before = compute.show(server)
    answer = compute.act(server, "rebuild", {"imageRef": compute.image, "name": "new", "metadata": {"x": "y"}, "adminPass": "pw"})
    assert answer.status == 202
    assert answer.json["server"]["adminPass"] == "pw"
    assert answer.json["server"]["status"] == "REBUILD"
    compute.settle(server)
    after = compute.show(server)
    assert (after["name"], after["metadata"], after["status"]) == ("new", {"x": "y"}, "ACTIVE")
    assert after["addresses"] == before["addresses"]
    assert (
        "Can not find" in compute.act(server, "rebuild", {"imageRef": "11111111-1111-1111-1111-111111111111"}).json["badRequest"]["message"]
    )


def test_an_image_of_a_server_waits_for_its_disk(compute: Compute) -> None:
    server = compute.running()
    made = compute.act(server, "createImage", {"name": "copy", "metadata": {"a": "b"}})
    assert made.status == 202
    image = compute.cloud.run(IMAGES.get(compute.cloud.db, made.json["image_id"]))
    assert image and image.status == ImageStatus.QUEUED
    assert image.properties["instance_uuid"] == server
    assert image.properties["os_distro"] == "debian"
    assert image.properties["a"] == "b"
    assert compute.show(server)["OS-EXT-STS:task_state"] == "image_snapshot"
    assert compute.act(server, "createImage", {"name": "again"}).status == 409


def test_before_2_45_the_image_is_in_a_header(compute: Compute) -> None:
    server = compute.running()
    made = compute.act(server, "createImage", {"name": "copy"}, version="2.44")
    assert made.status == 202
    assert made.body == b""
    assert "/image/v2/images/" in made.headers["location"]


def test_a_reset_state_is_forgotten_by_the_next_action(compute: Compute) -> None:
    server = compute.running()
    assert compute.act(server, "os-resetState", {"state": "error"}).status == 403
    assert compute.act(server, "os-resetState", {"state": "error"}, who="admin").status == 202
    shown = compute.show(server)
    assert shown["status"] == "ERROR"
    assert shown["fault"]["code"] == 500
    assert compute.act(server, "reboot", {"type": "HARD"}).status == 202
    compute.settle(server)
    assert "fault" not in compute.show(server)


@pytest.mark.parametrize("action", ["rescue", "shelve", "createBackup", "changePassword", "trigger_crash_dump"])
def test_what_is_not_done_yet_says_so(compute: Compute, action: str) -> None:
    server = compute.running()
    answer = compute.act(server, action, {})
    assert answer.status == 501
    assert "not done yet" in answer.json["notImplemented"]["message"]
    assert compute.act("11111111-1111-1111-1111-111111111111", action, {}).status == 404


def test_unknown_actions_are_refused(compute: Compute) -> None:
    server = compute.running()
    assert compute.act(server, "fly").status == 400
    assert compute.call("POST", f"/servers/{server}/action", {"pause": None, "unpause": None}).status == 400
    assert compute.act(server, "os-getVNCConsole", {"type": "novnc"}, version="2.6").status == 404
    assert compute.act(server, "addFloatingIp", {"address": "1.2.3.4"}, version="2.44").status == 404


def test_security_groups_are_added_to_every_port(compute: Compute) -> None:
    group = compute.cloud.call("POST", "/network/v2.0/security-groups", "member", {"security_group": {"name": "web"}}).json[
        "security_group"
    ]
    server = compute.running()
    assert compute.act(server, "addSecurityGroup", {"name": "web"}).status == 202
    assert [one["name"] for one in compute.show(server)["security_groups"]] == ["default", "web"]
    listed = compute.call("GET", f"/servers/{server}/os-security-groups").json["security_groups"]
    assert {one["id"] for one in listed} >= {group["id"]}
    assert compute.act(server, "removeSecurityGroup", {"name": group["id"]}).status == 202
    assert compute.act(server, "removeSecurityGroup", {"name": "web"}).status == 404
    assert compute.act(server, "addSecurityGroup", {"name": "none"}).status == 404
    assert ("routing", compute.network) in compute.cloud.woken


def test_force_delete_deletes_and_nothing_is_restored(compute: Compute) -> None:
    server = compute.running()
    assert compute.act(server, "restore").status == 409
    assert compute.act(server, "forceDelete").status == 202
    assert compute.show(server)["OS-EXT-STS:task_state"] == "deleting"


def test_a_server_that_was_never_placed_has_nothing_to_act_on(compute: Compute) -> None:
    server = compute.create()

    async def fail(tx: Transaction) -> None:
        seen = await servers.get(tx, server)
        await servers.save(tx, seen, fault=ServerFault(code=500, message="No valid host was found.", created_at=1.0))

    compute.cloud.write(fail)
    assert compute.show(server)["fault"]["message"] == "No valid host was found."
    for action in ("os-stop", "reboot"):
        answer = compute.act(server, action, {"type": "HARD"} if action == "reboot" else None)
        assert answer.status == 409
        assert "never placed" in answer.json["conflictingRequest"]["message"]
    assert compute.call("DELETE", f"/servers/{server}").status == 204
