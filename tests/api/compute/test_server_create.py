"""POST /servers: what is accepted, what is refused, what it costs."""

import base64
from typing import Any

import pytest

from pileus.model.images import ImageStatus
from pileus.store import images, quotas, servers
from pileus.store.ports import PORTS, NewPort, create_port
from pileus.store.sealing import seal_of
from tests.api.compute.conftest import Compute
from tests.api.compute.test_keypairs import public_key


def refused(compute: Compute, status: int = 400, version: str = "2.104", who: str = "member", **fields: Any) -> str:
    """The message with which a server is refused."""
    server = {"name": "x", "imageRef": compute.image, "flavorRef": "1", "networks": "auto", **fields}
    server = {name: value for name, value in server.items() if value is not ...}
    answer = compute.call("POST", "/servers", {"server": server}, who=who, version=version)
    assert answer.status == status, answer
    assert compute.cloud.run(compute.cloud.db.value("SELECT count(*) FROM servers")) == 0
    return next(iter(answer.json.values()))["message"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"imageRef": "11111111-1111-1111-1111-111111111111"}, "Can not find requested image"),
        ({"imageRef": ...}, "imageRef"),
        ({"imageRef": "x"}, "imageRef"),
        ({"flavorRef": "none"}, "Flavor none could not be found"),
        ({"key_name": "none"}, "key_name"),
        ({"networks": ...}, "networks"),
        ({"networks": [{"uuid": "11111111-1111-1111-1111-111111111111"}]}, "Network 1111"),
        ({"networks": [{"port": "11111111-1111-1111-1111-111111111111"}]}, "Port id 1111"),
        ({"networks": [{}]}, "networks"),
        ({"networks": "some"}, "networks"),
        ({"name": ""}, "name"),
        ({"name": "a" * 256}, "name"),
        ({"user_data": "not base64!"}, "user_data"),
        ({"user_data": base64.b64encode(b"x" * 60000).decode()}, "user_data"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"tags": ["a/b"]}, "tags"),
        ({"min_count": 0}, "min_count"),
        ({"min_count": 3, "max_count": 2}, "min_count"),
        ({"accessIPv4": "fd00::1"}, "accessIPv4"),
        ({"availability_zone": "mars"}, "availability zone"),
        ({"security_groups": [{"name": "none"}]}, "Security group none not found"),
        ({"personality": []}, "personality"),
        ({"unknown": 1}, "unknown"),
        ({"block_device_mapping_v2": [{"source_type": "image", "destination_type": "local", "boot_index": 0}]}, "uuid"),
    ],
)
def test_a_bad_request_says_what_is_wrong(compute: Compute, fields: dict[str, Any], words: str) -> None:
    assert words in refused(compute, **fields)


def test_volumes_wait_for_the_volume_service(compute: Compute) -> None:
    mapping = [{"source_type": "volume", "destination_type": "volume", "uuid": "v", "boot_index": 0}]
    assert "there is no volume service" in refused(compute, 501, block_device_mapping_v2=mapping)


def test_a_local_disk_from_the_image_is_the_image(compute: Compute) -> None:
    mapping = [{"source_type": "image", "destination_type": "local", "uuid": compute.image, "boot_index": 0, "delete_on_termination": True}]
    server = compute.create(imageRef="", block_device_mapping_v2=mapping)
    assert compute.show(server)["image"]["id"] == compute.image


def test_the_image_must_be_active_and_fit_the_flavor(compute: Compute) -> None:
    async def change(tx: Any, **changes: Any) -> None:
        image = await images.IMAGES.get(tx, compute.image)
        assert image
        await images.save(tx, image, **changes)

    compute.cloud.write(lambda tx: change(tx, min_ram=1024))
    assert "memory is too small" in refused(compute)
    compute.cloud.write(lambda tx: change(tx, min_ram=0, min_disk=2))
    assert "disk is too small" in refused(compute)
    compute.cloud.write(lambda tx: change(tx, min_disk=0, virtual_size=2 << 30))
    assert "disk is too small" in refused(compute)
    compute.cloud.write(lambda tx: change(tx, virtual_size=1, status=ImageStatus.DEACTIVATED))
    assert "is not active" in refused(compute)


def test_fields_are_refused_by_versions_before_them(compute: Compute) -> None:
    for version, name, value in (
        ("2.18", "description", "x"), ("2.51", "tags", ["a"]), ("2.62", "trusted_image_certificates", ["a"]), ("2.73", "host", "one"),
        ("2.89", "hostname", "web"),
    ):  # fmt: skip
        networks = {"networks": ...} if version == "2.18" else {}
        message = refused(compute, version=version, **{name: value}, **networks)
        assert f"Additional properties are not allowed ('{name}' was unexpected)" in message
    assert "not a host name" in refused(compute, version="2.93", hostname="web.example.org")
    assert "'tag' was unexpected" in refused(compute, version="2.37", networks=[{"uuid": compute.network, "tag": "a"}])


def test_a_request_of_old_needs_no_networks_and_takes_the_only_one(compute: Compute) -> None:
    body = {"server": {"name": "old", "imageRef": compute.image, "flavorRef": 1}}
    made = compute.call("POST", "/servers", body, version="2.1")
    assert made.status == 202
    assert list(compute.show(made.json["server"]["id"])["addresses"]) == ["private"]


def test_several_networks_must_be_told_apart(compute: Compute) -> None:
    body = {"network": {"name": "second"}}
    assert compute.cloud.call("POST", "/network/v2.0/networks", "member", body).status == 201
    assert refused(compute, 409) == "Multiple possible networks found, use a Network ID to be more specific."
    compute.create(networks=[{"uuid": compute.network}])


def test_a_project_without_networks_gets_none_of_old_and_an_error_of_new(compute: Compute) -> None:
    assert "Unable to automatically allocate a network" in refused(compute, who="other_project_member")
    body = {"server": {"name": "old", "imageRef": compute.image, "flavorRef": "1"}}
    made = compute.call("POST", "/servers", body, who="other_project_member", version="2.36")
    assert compute.show(made.json["server"]["id"], who="other_project_member")["addresses"] == {}


def test_another_projects_network_is_not_found(compute: Compute) -> None:
    assert "could not be found" in refused(compute, who="other_project_member", networks=[{"uuid": compute.network}])


def test_an_address_may_be_chosen_once(compute: Compute) -> None:
    wanted = [{"uuid": compute.network, "fixed_ip": "10.1.0.77", "tag": "front"}]
    server = compute.create(networks=wanted)
    assert compute.show(server)["addresses"]["private"][0]["addr"] == "10.1.0.77"
    assert compute.call("GET", f"/servers/{server}/os-interface").json["interfaceAttachments"][0]["tag"] == "front"
    body = {"server": {"name": "x", "imageRef": compute.image, "flavorRef": "1", "networks": wanted}}
    assert compute.call("POST", "/servers", body).status == 409


def test_a_port_is_claimed_and_can_be_claimed_once(compute: Compute) -> None:
    new = NewPort(project_id=compute.cloud.project_id(), network_id=compute.network)
    port = compute.cloud.write(lambda tx: create_port(tx, new))
    server = compute.create(networks=[{"port": port.id}])
    seen = compute.cloud.run(PORTS.get(compute.cloud.db, port.id))
    assert seen and seen.device_id == server and not seen.created_by_compute
    body = {"server": {"name": "x", "imageRef": compute.image, "flavorRef": "1", "networks": [{"port": port.id}]}}
    answer = compute.call("POST", "/servers", body)
    assert answer.status == 409
    assert "is still in use" in answer.json["conflictingRequest"]["message"]


def test_several_servers_have_numbers_and_one_reservation(compute: Compute) -> None:
    body = {
        "server": {
            "name": "web", "imageRef": compute.image, "flavorRef": "1", "networks": "auto", "min_count": 2, "max_count": 3,
            "return_reservation_id": True,
        }
    }  # fmt: skip
    reservation = compute.call("POST", "/servers", body).json["reservation_id"]
    listed = compute.call("GET", f"/servers/detail?reservation_id={reservation}&sort_key=launch_index&sort_dir=asc").json["servers"]
    assert [one["name"] for one in listed] == ["web-1", "web-2", "web-3"]
    assert [one["OS-EXT-SRV-ATTR:hostname"] for one in listed] == ["web-1", "web-2", "web-3"]
    assert len({one["addresses"]["private"][0]["addr"] for one in listed}) == 3


def test_quota_takes_as_many_as_it_allows_and_refuses_less(compute: Compute) -> None:
    project = compute.cloud.project_id()
    compute.cloud.write(lambda tx: quotas.set_limits(tx, project, {"instances": 2}))
    compute.create(min_count=1, max_count=5)
    assert len(compute.call("GET", "/servers").json["servers"]) == 2
    body = {"server": {"name": "x", "imageRef": compute.image, "flavorRef": "1", "networks": "auto"}}
    over = compute.call("POST", "/servers", body)
    assert over.status == 403
    assert "instances" in over.json["forbidden"]["message"]


def test_a_refused_server_leaves_no_port(compute: Compute) -> None:
    project = compute.cloud.project_id()
    compute.cloud.write(lambda tx: quotas.set_limits(tx, project, {"port": 1}))
    refused(compute, 403, min_count=2)
    count = compute.cloud.run(compute.cloud.db.value("SELECT count(*) FROM ports WHERE device_owner LIKE 'compute:%'"))
    assert count == 0


def test_key_password_and_files_are_kept_for_the_guest(compute: Compute) -> None:
    key = public_key()
    compute.call("POST", "/os-keypairs", {"keypair": {"name": "mine", "public_key": key}})
    contents = base64.b64encode(b"hello").decode()
    body = {
        "server": {
            "name": "Über Web_1", "imageRef": compute.image, "flavorRef": "1", "key_name": "mine", "adminPass": "secret",
            "personality": [{"path": "/etc/motd", "contents": contents}],
        }
    }  # fmt: skip
    made = compute.call("POST", "/servers", body, version="2.1").json["server"]
    assert made["adminPass"] == "secret"
    server = compute.cloud.run(servers.get(compute.cloud.db, made["id"]))
    assert server.public_key == key
    assert server.personality == {"/etc/motd": contents}
    assert server.hostname == "ber-web-1"
    assert server.admin_password and "secret" not in server.admin_password
    assert seal_of(compute.cloud.directory).open(server.admin_password) == "secret"


def test_hosts_are_chosen_by_administrators_only(compute: Compute) -> None:
    assert "Policy" in refused(compute, 403, availability_zone="nova:one")
    assert "Policy" in refused(compute, 403, host="one")
    assert "there is no host mars" in refused(compute, who="admin", host="mars", networks=[{"uuid": compute.network}])
    server = compute.create(who="admin", availability_zone="nova:one", networks=[{"uuid": compute.network}])
    assert compute.cloud.run(servers.get(compute.cloud.db, server)).requested_host == "one"


def test_hints_put_a_server_into_its_group(compute: Compute) -> None:
    made = compute.call("POST", "/os-server-groups", {"server_group": {"name": "g", "policy": "anti-affinity"}})
    group = made.json["server_group"]["id"]
    body = {
        "server": {"name": "x", "imageRef": compute.image, "flavorRef": "1", "networks": "auto"},
        "os:scheduler_hints": {"group": group, "own": "x"},
    }
    server = compute.call("POST", "/servers", body).json["server"]["id"]
    shown = compute.show(server)
    assert shown["server_groups"] == [group]
    assert shown["scheduler_hints"] == {"group": group, "own": "x"}
    assert compute.call("GET", f"/os-server-groups/{group}").json["server_group"]["members"] == [server]
    body["os:scheduler_hints"]["group"] = "11111111-1111-1111-1111-111111111111"
    assert compute.call("POST", "/servers", body).status == 400


def test_the_first_action_is_create(compute: Compute) -> None:
    server = compute.create()
    actions = compute.call("GET", f"/servers/{server}/os-instance-actions").json["instanceActions"]
    assert [one["action"] for one in actions] == ["create"]
