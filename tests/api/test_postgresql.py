"""The API on PostgreSQL: of each service what its SQL does most. All of tests/api runs on it with PILEUS_TEST_DATABASE=postgresql."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.harness import Answer, TestCloud, on_postgresql

COMPUTE = "/compute/v2.1"


@pytest.fixture(scope="module")
def cloud() -> Iterator[TestCloud]:
    made = TestCloud(database=on_postgresql())
    yield made
    made.close()


def ask(cloud: TestCloud, method: str, path: str, body: Any = None, who: str = "member") -> Answer:
    return cloud.call(
        method, path, who, json=body, headers={"x-openstack-nova-api-version": "2.96", "openstack-api-version": "compute 2.96"}
    )


def made(answer: Answer, kind: str) -> Any:
    assert answer.status in (200, 201, 202), answer
    return answer.json[kind]


def names(answer: Answer, kind: str) -> list[str]:
    return [one["name"] for one in made(answer, kind)]


def test_projects_users_and_roles_come_and_go(cloud: TestCloud) -> None:
    project = made(ask(cloud, "POST", "/identity/v3/projects", {"project": {"name": "made", "tags": ["x"]}}, "admin"), "project")
    user = made(ask(cloud, "POST", "/identity/v3/users", {"user": {"name": "made", "password": "long enough"}}, "admin"), "user")
    assert ask(cloud, "POST", "/identity/v3/users", {"user": {"name": "made", "password": "long enough"}}, "admin").status == 409
    role = made(ask(cloud, "GET", "/identity/v3/roles?name=member", who="admin"), "roles")[0]
    grant = f"/identity/v3/projects/{project['id']}/users/{user['id']}/roles/{role['id']}"
    assert ask(cloud, "PUT", grant, who="admin").status == 204
    assert ask(cloud, "HEAD", grant, who="admin").status == 204
    scope = {"project": {"id": project["id"]}}
    password = {"user": {"id": user["id"], "password": "long enough"}}
    login = {"auth": {"identity": {"methods": ["password"], "password": password}, "scope": scope}}
    assert [one["name"] for one in made(cloud.call("POST", "/identity/v3/auth/tokens", json=login), "token")["roles"]] == [
        "member",
        "reader",
    ]
    changed = ask(cloud, "PATCH", f"/identity/v3/users/{user['id']}", {"user": {"description": "changed"}}, "admin")
    assert made(changed, "user")["description"] == "changed"
    for path in (f"users/{user['id']}", f"projects/{project['id']}"):
        assert ask(cloud, "DELETE", f"/identity/v3/{path}", who="admin").status == 204
        assert ask(cloud, "GET", f"/identity/v3/{path}", who="admin").status == 404


def test_images_are_paged_and_sorted_with_what_has_no_value(cloud: TestCloud) -> None:
    for name in ("b", None, "a", "B"):
        body = {"disk_format": "raw", "container_format": "bare", "tags": ["paged"], "kind": "x"} | ({"name": name} if name else {})
        assert ask(cloud, "POST", "/image/v2/images", body).status == 201
    for direction, wanted in (("asc", [None, "B", "a", "b"]), ("desc", ["b", "a", "B", None])):
        found: list[Any] = []
        path = f"/image/v2/images?tag=paged&kind=x&limit=1&sort=name:{direction}"
        while path:
            page = ask(cloud, "GET", path).json
            found += [one.get("name") for one in page["images"]]
            path = "/image" + page["next"].removeprefix("/image") if page.get("next") else ""
        assert found == wanted
    first = ask(cloud, "GET", "/image/v2/images?tag=paged").json["images"][0]["id"]
    assert ask(cloud, "DELETE", f"/image/v2/images/{first}").status == 204
    assert len(ask(cloud, "GET", "/image/v2/images?tag=paged").json["images"]) == 3


def test_servers_on_a_network_are_made_listed_and_deleted(cloud: TestCloud) -> None:
    network = made(ask(cloud, "POST", "/network/v2.0/networks", {"network": {"name": "n"}}), "network")["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.1.0.0/24"}
    assert ask(cloud, "POST", "/network/v2.0/subnets", {"subnet": subnet}).status == 201
    flavor = {"name": "small", "ram": 128, "vcpus": 1, "disk": 0}
    flavor_id = made(ask(cloud, "POST", f"{COMPUTE}/flavors", {"flavor": flavor}, "admin"), "flavor")["id"]
    image = made_image(cloud)
    for name in ("two", "one", "three"):
        server = {"name": name, "flavorRef": flavor_id, "imageRef": image, "networks": [{"uuid": network}]}
        assert ask(cloud, "POST", f"{COMPUTE}/servers", {"server": server}).status == 202
    assert names(ask(cloud, "GET", f"{COMPUTE}/servers?sort_key=display_name&sort_dir=asc"), "servers") == ["one", "three", "two"]
    page = ask(cloud, "GET", f"{COMPUTE}/servers/detail?limit=1&sort_key=launched_at&sort_dir=asc").json
    after = ask(cloud, "GET", f"{COMPUTE}/servers/detail?sort_key=launched_at&sort_dir=asc&marker={page['servers'][0]['id']}")
    every = {*names(after, "servers"), page["servers"][0]["name"]}
    assert len(names(after, "servers")) == 2 and every == {"one", "two", "three"}
    ports = made(ask(cloud, "GET", f"/network/v2.0/ports?network_id={network}&fixed_ips=ip_address_substr%3D10.1.0"), "ports")
    assert len(ports) >= 3
    usage = ask(cloud, "GET", f"{COMPUTE}/limits").json["limits"]["absolute"]
    assert (usage["totalInstancesUsed"], usage["totalRAMUsed"]) == (3, 3 * 128)
    gone = page["servers"][0]["id"]
    assert ask(cloud, "DELETE", f"{COMPUTE}/servers/{gone}").status == 204
    busy = ask(cloud, "DELETE", f"/network/v2.0/networks/{network}")
    assert busy.status == 409


def made_image(cloud: TestCloud) -> str:
    body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
    answer = ask(cloud, "POST", "/image/v2/images", body)
    assert answer.status == 201, answer
    image = answer.json["id"]
    headers = {"content-type": "application/octet-stream"}
    stored = cloud.call("PUT", f"/image/v2/images/{image}/file", "member", headers=headers, content=bytes(4096))
    assert stored.status == 204, stored
    return image
