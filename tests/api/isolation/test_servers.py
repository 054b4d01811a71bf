"""A server is made of nothing that belongs to somebody else, and its place tells nothing of others."""

import time
from typing import Any

import pytest

from pileus.model.servers import Server
from pileus.reconcile.server_inputs import placement_request
from pileus.store import servers
from pileus.store.networks import NETWORKS, RBAC_POLICIES, RbacPolicy
from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron


@pytest.fixture
def compute(cloud: TestCloud) -> Compute:
    return Compute(cloud)


def ask(compute: Compute, who: str = "other_project_member", hints: Any = None, **fields: Any) -> Any:
    server = {"name": "x", "imageRef": compute.image, "flavorRef": "1", "networks": "none", **fields}
    return compute.call("POST", "/servers", {"server": server, **({"os:scheduler_hints": hints} if hints else {})}, who=who)


def test_a_server_is_made_of_nothing_of_another_project(compute: Compute) -> None:
    cloud, demo = compute.cloud, Neutron(compute.cloud)
    body = {"name": "mine", "visibility": "private", "disk_format": "raw", "container_format": "bare"}
    image = cloud.call("POST", "/image/v2/images", "member", body).json["id"]
    flavor = {"name": "own", "ram": 1, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
    private = compute.call("POST", "/flavors", {"flavor": flavor}, who="admin").json["flavor"]["id"]
    port = demo.make("port", network_id=compute.network)
    group = demo.make("security_group", name="mine")
    compute.call("POST", "/os-keypairs", {"keypair": {"name": "mine"}}, version="2.1")
    together = {"server_group": {"name": "one", "policy": "affinity"}}
    friends = compute.call("POST", "/os-server-groups", together).json["server_group"]["id"]
    assert ask(compute).status == 202
    own = Neutron(cloud, "other_project_member")
    network = own.make("network")
    own.subnet(network, "10.55.0.0/24")
    for fields in (
        {"imageRef": image}, {"flavorRef": private}, {"networks": [{"uuid": compute.network}]}, {"networks": [{"port": port["id"]}]},
        {"key_name": "mine"}, {"hints": {"group": friends}}, {"availability_zone": "nova:one"}, {"host": "one"},
        {"hypervisor_hostname": "one"}, {"networks": [{"uuid": network["id"]}], "security_groups": [{"name": group["id"]}]},
        {"networks": [{"uuid": network["id"]}], "security_groups": [{"name": "mine"}]},
        {"project_id": cloud.project_id()}, {"tenant_id": cloud.project_id()}, {"user_id": cloud.user_id("member")},
    ):  # fmt: skip
        assert ask(compute, **fields).status in (400, 403, 404), fields


def test_a_network_that_was_given_as_a_way_out_takes_no_servers(compute: Compute) -> None:
    other = compute.cloud.project_id("other")

    async def give(tx: Any) -> None:
        network = await NETWORKS.get(tx, compute.network)
        assert network
        now = time.time()
        policy = RbacPolicy(id="p", created_at=now, updated_at=now, project_id=network.project_id, object_id=network.id,
                            target_project=other, action="access_as_external")  # fmt: skip
        await RBAC_POLICIES.insert(tx, policy)

    compute.cloud.write(give)
    assert ask(compute, networks=[{"uuid": compute.network}]).status == 403


@pytest.mark.parametrize("hint", ["same_host", "different_host"])
def test_a_hint_finds_no_server_of_another_project(hint: str, compute: Compute) -> None:
    theirs = compute.running()

    def hosts(who: str) -> Any:
        made = ask(compute, who=who, hints={hint: [theirs]}).json["server"]["id"]

        async def look() -> Any:
            server: Server = await servers.get(compute.cloud.db, made)
            return getattr(await placement_request(compute.cloud.db, server), hint)

        return compute.cloud.run(look())

    assert hosts("member") == {"one"}
    assert hosts("other_project_member") == frozenset()


def test_who_owns_a_server_sees_no_host(compute: Compute) -> None:
    server = compute.running("mine")
    document = compute.show(server)
    assert not [name for name in document if name.startswith("OS-EXT-SRV-ATTR:") and name != "OS-EXT-SRV-ATTR:hostname"]
    for path in ("", "/os-instance-actions", "/topology", "/ips", "/os-interface", "/os-security-groups"):
        assert b'"one"' not in compute.call("GET", f"/servers/{server}{path}").body
