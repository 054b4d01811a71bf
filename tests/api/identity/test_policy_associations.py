"""Documents of policy that endpoints and services have."""

from typing import Any

import pytest

from tests.api.harness import TestCloud

V3 = "/identity/v3"


class Catalog:
    """A service with endpoints in a region and in one below it, and two documents of policy."""

    def __init__(self, cloud: TestCloud) -> None:
        self.cloud = cloud
        self.make("regions", "region", id="top")
        self.make("regions", "region", id="below", parent_region_id="top")
        self.service = self.make("services", "service", type="dns")
        self.endpoints = {
            region: self.make("endpoints", "endpoint", service_id=self.service, interface="public", url="http://x", region_id=region)
            for region in ("top", "below")
        }
        self.policies = [self.make("policies", "policy", type="application/json", blob="{}") for _ in range(3)]

    def make(self, path: str, key: str, **attributes: Any) -> str:
        made = self.cloud.call("POST", f"{V3}/{path}", token="admin", json={key: attributes})
        assert made.status == 201, made
        return made.json[key]["id"]

    def place(self, policy: int, rest: str) -> str:
        return f"{V3}/policies/{self.policies[policy]}/OS-ENDPOINT-POLICY/{rest}"

    def put(self, policy: int, rest: str) -> int:
        return self.cloud.call("PUT", self.place(policy, rest), token="admin").status

    def of(self, region: str) -> Any:
        answer = self.cloud.call("GET", f"{V3}/endpoints/{self.endpoints[region]}/OS-ENDPOINT-POLICY/policy", token="admin")
        return self.policies.index(answer.json["policy"]["id"]) if answer.status == 200 else answer.status

    def with_policy(self, policy: int) -> set[str]:
        listed = self.cloud.call("GET", self.place(policy, "endpoints"), token="admin").json["endpoints"]
        return {region for region, key in self.endpoints.items() if key in {one["id"] for one in listed}}


@pytest.fixture
def catalog(cloud: TestCloud) -> Catalog:
    """A service with two endpoints."""
    return Catalog(cloud)


def test_the_nearest_document_counts(catalog: Catalog) -> None:
    assert catalog.of("below") == 404
    assert catalog.put(0, f"services/{catalog.service}") == 204
    assert (catalog.of("top"), catalog.of("below")) == (0, 0)
    assert catalog.put(1, f"services/{catalog.service}/regions/top") == 204
    assert (catalog.of("top"), catalog.of("below")) == (1, 1)
    assert catalog.put(2, f"endpoints/{catalog.endpoints['below']}") == 204
    assert (catalog.of("top"), catalog.of("below")) == (1, 2)
    assert catalog.with_policy(0) == {"top", "below"}
    assert catalog.with_policy(1) == {"top", "below"}
    assert catalog.with_policy(2) == {"below"}


@pytest.mark.parametrize("rest", ["services/{service}", "services/{service}/regions/top", "endpoints/{endpoint}"])
def test_a_document_is_given_looked_for_and_taken(rest: str, catalog: Catalog) -> None:
    rest = rest.format(service=catalog.service, endpoint=catalog.endpoints["top"])
    place, cloud = catalog.place(0, rest), catalog.cloud
    assert cloud.call("HEAD", place, token="admin").status == 404
    assert catalog.put(0, rest) == 204
    assert cloud.call("GET", place, token="admin").status == cloud.call("HEAD", place, token="admin").status == 204
    assert catalog.put(1, rest) == 204  # in its place
    assert cloud.call("GET", place, token="admin").status == 404
    assert cloud.call("DELETE", place, token="admin").status == 204
    assert catalog.of("top") == 1
    assert cloud.call("DELETE", catalog.place(1, rest), token="admin").status == 204
    assert catalog.of("top") == 404


def test_what_is_not_there_gets_none(catalog: Catalog) -> None:
    for rest in ("services/gone", f"services/{catalog.service}/regions/gone", "endpoints/gone"):
        assert catalog.put(0, rest) == 404
    assert catalog.cloud.call("PUT", f"{V3}/policies/gone/OS-ENDPOINT-POLICY/services/{catalog.service}", token="admin").status == 404


def test_associations_go_with_either_side(catalog: Catalog) -> None:
    cloud = catalog.cloud
    catalog.put(0, f"services/{catalog.service}"), catalog.put(1, f"endpoints/{catalog.endpoints['top']}")
    assert cloud.call("DELETE", f"{V3}/policies/{catalog.policies[1]}", token="admin").status == 204
    assert catalog.of("top") == 0
    catalog.put(2, f"endpoints/{catalog.endpoints['top']}")
    assert cloud.call("DELETE", f"{V3}/services/{catalog.service}", token="admin").status == 204
    assert cloud.run(cloud.db.value("SELECT count(*) FROM policy_associations")) == 0
