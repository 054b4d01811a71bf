"""Which endpoints a project sees."""

from typing import Any

from tests.api.harness import PASSWORD, Answer, TestCloud

V3 = "/identity/v3"
FILTER = f"{V3}/OS-EP-FILTER"


def catalog(cloud: TestCloud) -> set[tuple[str, str]]:
    """(type, interface) of what demo's catalog has."""
    identity = {"methods": ["password"], "password": {"user": {"name": "demo", "domain": {"id": "default"}, "password": PASSWORD}}}
    body = {"auth": {"identity": identity, "scope": {"project": {"id": cloud.project_id()}}}}
    token = cloud.call("POST", f"{V3}/auth/tokens", json=body).json["token"]
    return {(service["type"], one["interface"]) for service in token["catalog"] for one in service["endpoints"]}


def endpoint(cloud: TestCloud, kind: str, interface: str = "public") -> dict[str, Any]:
    services = {one["type"]: one["id"] for one in cloud.call("GET", f"{V3}/services", token="admin").json["services"]}
    query = f"service_id={services[kind]}&interface={interface}"
    return cloud.call("GET", f"{V3}/endpoints?{query}", token="admin").json["endpoints"][0]


def make(cloud: TestCloud, **filters: Any) -> Answer:
    body = {"endpoint_group": {"name": "some", "filters": filters}}
    return cloud.call("POST", f"{FILTER}/endpoint_groups", token="admin", json=body)


def test_a_project_that_was_given_nothing_sees_everything(cloud: TestCloud) -> None:
    assert {("compute", "public"), ("image", "internal"), ("identity", "admin")} <= catalog(cloud)
    assert cloud.call("GET", f"{FILTER}/projects/{cloud.project_id()}/endpoints", token="admin").json["endpoints"] == []


def test_a_project_sees_the_endpoints_that_it_was_given(cloud: TestCloud) -> None:
    one = endpoint(cloud, "image")
    path = f"{FILTER}/projects/{cloud.project_id()}/endpoints/{one['id']}"
    assert cloud.call("HEAD", path, token="admin").status == 404
    assert cloud.call("PUT", path, token="admin").status == 204
    assert cloud.call("HEAD", path, token="admin").status == 204
    assert catalog(cloud) == {("image", "public")}
    listed = cloud.call("GET", f"{FILTER}/projects/{cloud.project_id()}/endpoints", token="admin").json["endpoints"]
    assert [row["id"] for row in listed] == [one["id"]]
    projects = cloud.call("GET", f"{FILTER}/endpoints/{one['id']}/projects", token="admin").json["projects"]
    assert [row["name"] for row in projects] == ["demo"]
    assert cloud.call("DELETE", path, token="admin").status == 204
    assert cloud.call("DELETE", path, token="admin").status == 404
    assert ("compute", "public") in catalog(cloud)


def test_a_group_gives_all_endpoints_that_are_so(cloud: TestCloud) -> None:
    group = make(cloud, interface="public").json["endpoint_group"]
    path = f"{FILTER}/endpoint_groups/{group['id']}/projects/{cloud.project_id()}"
    assert cloud.call("PUT", path, token="admin").status == 204
    assert cloud.call("GET", path, token="admin").json["project_endpoint_group"]["endpoint_group_id"] == group["id"]
    assert {interface for _, interface in catalog(cloud)} == {"public"}
    assert (
        cloud.call(
            "PUT", f"{FILTER}/projects/{cloud.project_id()}/endpoints/{endpoint(cloud, 'image', 'admin')['id']}", token="admin"
        ).status
        == 204
    )
    assert ("image", "admin") in catalog(cloud) and ("compute", "public") in catalog(cloud)
    given = cloud.call("GET", f"{FILTER}/projects/{cloud.project_id()}/endpoint_groups", token="admin").json["endpoint_groups"]
    assert [row["id"] for row in given] == [group["id"]]
    assert [row["name"] for row in cloud.call("GET", path.rpartition("/")[0], token="admin").json["projects"]] == ["demo"]
    assert cloud.call("DELETE", f"{FILTER}/endpoint_groups/{group['id']}", token="admin").status == 204
    assert catalog(cloud) == {("image", "admin")}


def test_a_group_lives_its_life(cloud: TestCloud) -> None:
    made = make(cloud, region_id="RegionOne")
    assert made.status == 201, made
    path = f"{FILTER}/endpoint_groups/{made.json['endpoint_group']['id']}"
    change = {"endpoint_group": {"name": "other", "filters": {"interface": "public"}}}
    changed = cloud.call("PATCH", path, token="admin", json=change).json["endpoint_group"]
    assert (changed["name"], changed["filters"]) == ("other", {"interface": "public"})
    assert cloud.call("PATCH", path, token="admin", json={"endpoint_group": {"description": "d"}}).json["endpoint_group"]["filters"]
    changed["description"] = "d"
    assert cloud.call("GET", path, token="admin").json["endpoint_group"] == changed
    assert cloud.call("GET", f"{FILTER}/endpoint_groups?name=other", token="admin").json["endpoint_groups"] == [changed]
    assert cloud.call("GET", f"{FILTER}/endpoint_groups?name=none", token="admin").json["endpoint_groups"] == []
    assert {row["interface"] for row in cloud.call("GET", f"{path}/endpoints", token="admin").json["endpoints"]} == {"public"}
    assert cloud.call("DELETE", path, token="admin").status == 204
    assert cloud.call("GET", path, token="admin").status == 404


def test_a_group_is_by_attributes_that_endpoints_have(cloud: TestCloud) -> None:
    assert make(cloud, colour="red").status == 400
    assert make(cloud, interface="secret").status == 400
    assert make(cloud, service_id="none").status == 400
