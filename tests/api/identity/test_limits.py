"""Unified limits: registered ones, and those of a project or a domain."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.harness import Answer, TestCloud

V3 = "/identity/v3"


@pytest.fixture
def strict() -> Iterator[TestCloud]:
    """A cloud in which no project's limit is above its domain's."""
    made = TestCloud(limit_model="strict_two_level")
    yield made
    made.close()


def compute(cloud: TestCloud) -> str:
    services = cloud.call("GET", f"{V3}/services?type=compute", token="admin").json["services"]
    return str(services[0]["id"])


def register(cloud: TestCloud, name: str = "servers", default: int = 10, **more: Any) -> Answer:
    body = [{"service_id": compute(cloud), "resource_name": name, "default_limit": default, **more}]
    return cloud.call("POST", f"{V3}/registered_limits", token="admin", json={"registered_limits": body})


def limit(cloud: TestCloud, amount: int, name: str = "servers", **more: Any) -> Answer:
    body = [{"service_id": compute(cloud), "resource_name": name, "resource_limit": amount, **more}]
    return cloud.call("POST", f"{V3}/limits", token="admin", json={"limits": body})


def domain(cloud: TestCloud) -> tuple[str, str]:
    """A domain with a project."""
    made = cloud.call("POST", f"{V3}/domains", token="admin", json={"domain": {"name": "d"}}).json["domain"]["id"]
    body = {"project": {"name": "p", "domain_id": made}}
    return made, cloud.call("POST", f"{V3}/projects", token="admin", json=body).json["project"]["id"]


def test_a_registered_limit_lives_its_life(cloud: TestCloud) -> None:
    made = register(cloud, region_id="RegionOne", description="of servers")
    assert made.status == 201, made
    [one] = made.json["registered_limits"]
    assert "links" not in made.json and one["default_limit"] == 10 and one["region_id"] == "RegionOne"
    place = f"{V3}/registered_limits/{one['id']}"
    assert cloud.call("GET", place, token="reader").json["registered_limit"] == one
    assert cloud.call("GET", f"{V3}/registered_limits?region_id=RegionOne&resource_name=servers", token="reader").json[
        "registered_limits"
    ] == [one]
    assert cloud.call("GET", f"{V3}/registered_limits?resource_name=other", token="reader").json["registered_limits"] == []
    changed = cloud.call("PATCH", place, token="admin", json={"registered_limit": {"default_limit": -1, "region_id": None}})
    assert (changed.json["registered_limit"]["default_limit"], changed.json["registered_limit"]["region_id"]) == (-1, None)
    assert cloud.call("DELETE", place, token="admin").status == 204
    assert cloud.call("GET", place, token="reader").status == 404


def test_a_registered_limit_is_there_once_and_for_what_is_there(cloud: TestCloud) -> None:
    assert register(cloud).status == 201
    assert register(cloud).status == 409
    assert register(cloud, region_id="RegionOne").status == 201
    assert register(cloud, "ports", region_id="Nowhere").status == 400
    assert register(cloud, "ports", service_id="0" * 32).status == 400
    assert register(cloud, "ports", default=-2).status == 400
    assert register(cloud, "ports", default=1 << 31).status == 400
    assert register(cloud, "ports", more="x").status == 400
    assert cloud.call("POST", f"{V3}/registered_limits", token="admin", json={"registered_limits": []}).status == 400
    other = register(cloud, "ports").json["registered_limits"][0]["id"]
    body = {"registered_limit": {"resource_name": "servers"}}
    assert cloud.call("PATCH", f"{V3}/registered_limits/{other}", token="admin", json=body).status == 409


def test_of_several_registered_limits_all_are_made_or_none(cloud: TestCloud) -> None:
    good = {"service_id": compute(cloud), "resource_name": "a", "default_limit": 1}
    body = {"registered_limits": [good, {**good, "service_id": "gone"}]}
    assert cloud.call("POST", f"{V3}/registered_limits", token="admin", json=body).status == 400
    assert cloud.call("GET", f"{V3}/registered_limits", token="admin").json["registered_limits"] == []


def test_a_limit_needs_a_registered_one_and_keeps_it(cloud: TestCloud) -> None:
    project = cloud.project_id()
    assert limit(cloud, 3, project_id=project).status == 403
    registered = register(cloud).json["registered_limits"][0]["id"]
    made = limit(cloud, 3, project_id=project)
    assert made.status == 201, made
    [one] = made.json["limits"]
    assert (one["resource_limit"], one["project_id"], one["domain_id"], one["region_id"]) == (3, project, None, None)
    assert limit(cloud, 4, project_id=project).status == 409
    place = f"{V3}/registered_limits/{registered}"
    assert cloud.call("DELETE", place, token="admin").status == 403
    assert cloud.call("PATCH", place, token="admin", json={"registered_limit": {"default_limit": 1}}).status == 403
    mine = f"{V3}/limits/{one['id']}"
    changed = cloud.call("PATCH", mine, token="admin", json={"limit": {"resource_limit": 0, "description": "none"}})
    assert changed.json["limit"] == {**one, "resource_limit": 0, "description": "none"}
    assert cloud.call("PATCH", mine, token="admin", json={"limit": {"project_id": "x"}}).status == 400
    assert cloud.call("DELETE", mine, token="admin").status == 204
    assert cloud.call("DELETE", mine, token="admin").status == 404
    assert cloud.call("DELETE", place, token="admin").status == 204


def test_a_limit_is_for_one_project_or_one_domain(cloud: TestCloud) -> None:
    register(cloud)
    assert limit(cloud, 1).status == 400
    assert limit(cloud, 1, project_id=cloud.project_id(), domain_id="default").status == 400
    assert limit(cloud, 1, project_id="gone").status == 400
    assert limit(cloud, 1, domain_id="gone").status == 400
    [one] = limit(cloud, 1, project_id="default").json["limits"]
    assert (one["project_id"], one["domain_id"]) == (None, "default")


def test_each_sees_the_limits_of_its_project_or_domain(cloud: TestCloud) -> None:
    register(cloud)
    made, project = domain(cloud)
    ids = {
        name: limit(cloud, 1, **place).json["limits"][0]["id"]
        for name, place in {
            "demo": {"project_id": cloud.project_id()},
            "default": {"domain_id": "default"},
            "there": {"project_id": project},
            "domain": {"domain_id": made},
        }.items()
    }
    seen = {
        "member": {"demo"},
        cloud.token("member", domain_id=made): {"there", "domain"},
        cloud.token("reader", system=True): set(ids),
        "admin": set(ids),
        "other_project_member": set(),
    }
    for token, names in seen.items():
        listed = cloud.call("GET", f"{V3}/limits", token=token).json["limits"]
        assert {one["id"] for one in listed} == {ids[name] for name in names}
        for name, key in ids.items():
            assert cloud.call("GET", f"{V3}/limits/{key}", token=token).status == (200 if name in names else 403)
    listed = cloud.call("GET", f"{V3}/limits?project_id={project}", token="admin").json["limits"]
    assert [one["id"] for one in listed] == [ids["there"]]


def test_a_project_goes_with_its_limits(cloud: TestCloud) -> None:
    register(cloud)
    made, project = domain(cloud)
    assert limit(cloud, 1, project_id=project).status == limit(cloud, 2, domain_id=made).status == 201
    assert cloud.call("PATCH", f"{V3}/domains/{made}", token="admin", json={"domain": {"enabled": False}}).status == 200
    assert cloud.call("DELETE", f"{V3}/domains/{made}", token="admin").status == 204
    assert cloud.call("GET", f"{V3}/limits", token="admin").json["limits"] == []


def test_registered_limits_outlive_their_service_and_region(cloud: TestCloud) -> None:
    """They may belong to another cloud's parts; clients remove them after these."""
    service = cloud.call("POST", f"{V3}/services", token="admin", json={"service": {"type": "dns"}}).json["service"]["id"]
    cloud.call("POST", f"{V3}/regions", token="admin", json={"region": {"id": "Two"}})
    made = register(cloud, service_id=service, region_id="Two").json["registered_limits"][0]["id"]
    assert cloud.call("DELETE", f"{V3}/services/{service}", token="admin").status == 204
    assert cloud.call("DELETE", f"{V3}/regions/Two", token="admin").status == 204
    shown = cloud.call("GET", f"{V3}/registered_limits/{made}", token="admin").json["registered_limit"]
    assert (shown["service_id"], shown["region_id"]) == (service, "Two")
    assert cloud.call("DELETE", f"{V3}/registered_limits/{made}", token="admin").status == 204


def test_the_model_is_told(cloud: TestCloud, strict: TestCloud) -> None:
    assert cloud.call("GET", f"{V3}/limits/model", token="reader").json["model"]["name"] == "flat"
    assert strict.call("GET", f"{V3}/limits/model", token="reader").json["model"]["name"] == "strict_two_level"


def test_with_the_strict_model_a_project_has_no_more_than_its_domain(strict: TestCloud) -> None:
    register(strict, default=10)
    made, project = domain(strict)
    assert limit(strict, 11, project_id=project).status == 403  # the domain has the default
    assert limit(strict, -1, project_id=project).status == 403
    mine = limit(strict, 8, project_id=project).json["limits"][0]["id"]
    assert limit(strict, 7, domain_id=made).status == 403
    whole = limit(strict, 9, domain_id=made).json["limits"][0]["id"]
    for key, amount, status in ((mine, 10, 403), (mine, 9, 200), (whole, 8, 403), (whole, -1, 200), (mine, -1, 200)):
        assert strict.call("PATCH", f"{V3}/limits/{key}", token="admin", json={"limit": {"resource_limit": amount}}).status == status


def test_with_the_strict_model_a_domains_and_its_projects_limits_may_come_together(strict: TestCloud) -> None:
    register(strict, default=10)
    made, project = domain(strict)
    one = {"service_id": compute(strict), "resource_name": "servers"}
    pair = [{**one, "resource_limit": 30, "project_id": project}, {**one, "resource_limit": 40, "domain_id": made}]
    assert strict.call("POST", f"{V3}/limits", token="admin", json={"limits": pair}).status == 201


def test_with_the_strict_model_there_are_no_projects_below_projects(strict: TestCloud) -> None:
    _, project = domain(strict)
    body = {"project": {"name": "below", "parent_id": project}}
    assert strict.call("POST", f"{V3}/projects", token="admin", json=body).status == 403
