"""Lists show a tenant its own, and neither their filters nor their order nor their pages tell of anybody else's."""

import pytest

from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron

KINDS = ("networks", "subnets", "ports", "routers", "security-groups", "security-group-rules", "floatingips", "rbac-policies")


def test_anothers_server_is_no_marker(cloud: TestCloud) -> None:
    compute = Compute(cloud)
    server = compute.running()
    for path in ("/servers", "/servers/detail"):
        assert compute.call("GET", f"{path}?marker={server}", who="member").status == 200
        assert compute.call("GET", f"{path}?marker={server}", who="other_project_member").status == 400


@pytest.mark.parametrize("kind", KINDS)
def test_anothers_resource_of_the_network_is_no_marker(kind: str, cloud: TestCloud) -> None:
    demo, other = Neutron(cloud), Neutron(cloud, "other_project_member")
    network = demo.make("network")
    demo.subnet(network)
    demo.make("port", network_id=network["id"])
    demo.make("router")
    found = demo.get(kind)
    assert all(demo.call("GET", f"{kind}?marker={one['id']}&limit=1").status == 200 for one in found)
    assert all(other.call("GET", f"{kind}?marker={one['id']}&limit=1").status == 400 for one in found)
    assert {one["id"] for one in other.get(kind)} & {one["id"] for one in found} == set()


@pytest.mark.parametrize("query", ["binding:host_id=one", "sort_key=binding:host_id", "binding:host_id=&fields=id"])
def test_where_a_port_is_can_be_found_out_by_no_filter(query: str, cloud: TestCloud) -> None:
    demo = Neutron(cloud)
    demo.make("port", network_id=demo.make("network")["id"])
    assert demo.call("GET", f"ports?{query}").status == 400
    assert demo.call("GET", "networks?provider:segmentation_id=1").status == 400
    assert demo.call("GET", "networks?sort_key=provider:segmentation_id").status == 400
    assert "binding:host_id" not in demo.get("ports?fields=binding:host_id&fields=id")[0]
    assert Neutron(cloud, "admin").call("GET", f"ports?{query}").status == 200


def test_where_a_server_is_can_be_found_out_by_no_filter_or_order(cloud: TestCloud) -> None:
    compute = Compute(cloud)
    compute.running()
    for host in ("one", "two"):
        assert len(compute.call("GET", f"/servers?host={host}").json["servers"]) == 1
        assert len(compute.call("GET", f"/servers?node={host}").json["servers"]) == 1
    assert compute.call("GET", "/servers?sort_key=host").status == 403
    assert compute.call("GET", "/servers?sort_key=node").status == 403
    assert compute.call("GET", "/servers?sort_key=host", who="admin").status == 200


@pytest.mark.parametrize("query", ["all_tenants=1", "all_tenants=True&project_id={demo}"])
def test_servers_of_all_projects_are_for_administrators(query: str, cloud: TestCloud) -> None:
    compute = Compute(cloud)
    compute.running()
    query = query.format(demo=cloud.project_id())
    for path in ("/servers", "/servers/detail"):
        assert compute.call("GET", f"{path}?{query}", who="other_project_member").status == 403
        assert len(compute.call("GET", f"{path}?{query}", who="admin").json["servers"]) == 1


@pytest.mark.parametrize("query", ["project_id={demo}", "tenant_id={demo}", "user_id={member}", "name=.*", "deleted=True", "ip=10"])
def test_no_filter_widens_a_list_of_servers(query: str, cloud: TestCloud) -> None:
    compute = Compute(cloud)
    compute.running()
    query = query.format(demo=cloud.project_id(), member=cloud.user_id("member"))
    assert compute.call("GET", f"/servers?{query}", who="other_project_member").json["servers"] == []


@pytest.mark.parametrize(
    "query", ["", "owner={demo}", "visibility=private", "visibility=all", "visibility=shared&member_status=all", "id={image}"]
)
def test_no_filter_widens_a_list_of_images(query: str, cloud: TestCloud) -> None:
    body = {"name": "mine", "visibility": "shared", "disk_format": "raw", "container_format": "bare"}
    image = cloud.call("POST", "/image/v2/images", token="member", json=body).json["id"]
    query = query.format(demo=cloud.project_id(), image=image)
    assert cloud.call("GET", f"/image/v2/images?{query}", token="other_project_member").json["images"] == []
    assert cloud.call("GET", f"/image/v2/images?marker={image}", token="other_project_member").status == 400
    assert len(cloud.call("GET", f"/image/v2/images?{query}", token="member").json["images"]) == (0 if "private" in query else 1)
