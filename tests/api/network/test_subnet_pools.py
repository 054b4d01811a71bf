"""Subnet pools: made, changed, and what subnets get from them."""

import pytest

from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron


@pytest.fixture
def demo(cloud: TestCloud) -> Neutron:
    return Neutron(cloud)


def test_a_pool_is_made_with_the_lengths_of_its_version_and_changed(demo: Neutron) -> None:
    pool = demo.make("subnetpool", name="a", prefixes=["10.1.0.0/16", "10.0.0.0/16"])
    assert (pool["prefixes"], pool["ip_version"], pool["min_prefixlen"], pool["max_prefixlen"]) == (["10.0.0.0/15"], 4, "8", "32")
    assert demo.change("subnetpool", pool["id"], name="b", min_prefixlen=20, default_prefixlen=24)["default_prefixlen"] == "24"
    assert (
        demo.refuse(400, "PUT", f"subnetpools/{pool['id']}", {"subnetpool": {"default_prefixlen": 16}}) == "IllegalSubnetPoolPrefixBounds"
    )
    assert demo.refuse(400, "PUT", f"subnetpools/{pool['id']}", {"subnetpool": {"prefixes": ["10.0.0.0/16"]}}) == "IllegalSubnetPoolUpdate"
    assert (
        demo.refuse(400, "POST", "subnetpools", {"subnetpool": {"name": "c", "prefixes": ["10.0.0.0/8", "fd00::/8"]}})
        == "PrefixVersionMismatch"
    )
    assert demo.call("PUT", f"subnetpools/{pool['id']}/tags/x").status == 201
    assert [one["name"] for one in demo.get("subnetpools?tags=x")] == ["b"]
    demo.delete("subnetpool", pool["id"])
    assert demo.refuse(404, "GET", f"subnetpools/{pool['id']}") == "SubnetPoolNotFound"


def test_subnets_are_cut_from_a_pool_until_it_is_used_up_and_their_prefixes_come_back(demo: Neutron) -> None:
    network = demo.make("network")
    pool = demo.make("subnetpool", name="a", prefixes="10.0.0.0/23", default_prefixlen=24)
    body = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]}
    first = demo.make("subnet", **body)
    assert (first["cidr"], first["subnetpool_id"], first["gateway_ip"]) == ("10.0.0.0/24", pool["id"], "10.0.0.1")
    assert demo.make("subnet", **body, prefixlen=25)["cidr"] == "10.0.1.0/25"
    assert demo.refuse(400, "POST", "subnets", {"subnet": body}) == "SubnetAllocationError"
    assert demo.make("subnet", **body, cidr="10.0.1.128/25")["cidr"] == "10.0.1.128/25"
    assert demo.refuse(409, "DELETE", f"subnetpools/{pool['id']}") == "SubnetPoolInUse"
    demo.delete("subnet", first["id"])
    assert demo.make("subnet", **body)["cidr"] == "10.0.0.0/24"
    assert len(demo.get(f"subnets?subnetpool_id={pool['id']}")) == 3
    outside = {**body, "cidr": "10.9.0.0/24"}
    assert demo.refuse(400, "POST", "subnets", {"subnet": outside}) == "SubnetAllocationError"
    assert demo.refuse(400, "POST", "subnets", {"subnet": {**body, "ip_version": 6}}) == "BadRequest"


def test_a_projects_share_of_a_pool_is_limited_by_the_pools_quota(demo: Neutron) -> None:
    network = demo.make("network")
    pool = demo.make("subnetpool", name="a", prefixes=["10.0.0.0/16"], default_prefixlen=24, default_quota=300)
    body = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]}
    demo.make("subnet", **body)
    assert demo.refuse(409, "POST", "subnets", {"subnet": body}) == "SubnetPoolQuotaExceeded"


def test_a_shared_default_pool_serves_other_projects(cloud: TestCloud, demo: Neutron) -> None:
    network = demo.make("network")
    body = {"network_id": network["id"], "ip_version": 6, "use_default_subnetpool": True}
    assert demo.refuse(400, "POST", "subnets", {"subnet": body}) == "BadRequest"
    assert demo.refuse(403, "POST", "subnetpools", {"subnetpool": {"name": "s", "prefixes": ["fd00::/48"], "shared": True}})
    admin = Neutron(cloud, "admin")
    private = admin.make("subnetpool", name="p", prefixes=["fd01::/48"])
    assert demo.refuse(404, "POST", "subnets", {"subnet": {**body, "subnetpool_id": private["id"]}}) == "SubnetPoolNotFound"
    shared = admin.make("subnetpool", name="s", prefixes=["fd00::/48"], shared=True, is_default=True)
    again = {"name": "t", "prefixes": ["fd02::/48"], "is_default": True}
    assert admin.refuse(400, "POST", "subnetpools", {"subnetpool": again}) == "InvalidInput"
    subnet = demo.make("subnet", **body)
    assert (subnet["subnetpool_id"], subnet["cidr"]) == (shared["id"], "fd00::/64")
    assert [one["name"] for one in demo.get("subnetpools")] == ["s"]
