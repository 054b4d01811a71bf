"""Flavors: manage, list, extra specs, access."""

import pytest

from tests.api.compute.conftest import Compute


def new(compute: Compute, name: str = "big", **more: object) -> str:
    """A new flavor's id."""
    answer = compute.call("POST", "/flavors", {"flavor": {"name": name, "ram": 4096, "vcpus": 4, "disk": 40, **more}}, who="admin")
    assert answer.status == 200, answer
    return answer.json["flavor"]["id"]


def test_a_flavor_is_made_shown_described_and_removed(compute: Compute) -> None:
    flavor = new(compute, description="large")
    shown = compute.call("GET", f"/flavors/{flavor}").json["flavor"]
    assert (shown["ram"], shown["vcpus"], shown["description"], shown["swap"]) == (4096, 4, "large", 0)
    assert compute.call("PUT", f"/flavors/{flavor}", {"flavor": {"description": None}}, who="admin").json["flavor"]["description"] is None
    assert compute.call("DELETE", f"/flavors/{flavor}", who="admin").status == 202
    assert compute.call("GET", f"/flavors/{flavor}").status == 404


def test_names_and_ids_are_unique(compute: Compute) -> None:
    new(compute, id="x")
    for name, key in (("big", "y"), ("other", "x")):
        answer = compute.call("POST", "/flavors", {"flavor": {"name": name, "ram": 1, "vcpus": 1, "disk": 0, "id": key}}, who="admin")
        assert answer.status == 409
        assert "already exists" in answer.json["conflictingRequest"]["message"]


@pytest.mark.parametrize(
    "change", [{"ram": 0}, {"vcpus": "x"}, {"name": " leading"}, {"name": ""}, {"disk": -1}, {"rxtx_factor": 2.0}, {"unknown": 1}]
)
def test_a_bad_flavor_is_refused_with_the_field(compute: Compute, change: dict[str, object]) -> None:
    body = {"flavor": {"name": "n", "ram": 1, "vcpus": 1, "disk": 1} | change}
    answer = compute.call("POST", "/flavors", body, who="admin")
    assert answer.status == 400
    assert next(iter(change)) in answer.json["badRequest"]["message"]


def test_old_versions_know_the_factor_and_not_the_description(compute: Compute) -> None:
    flavor = new(compute)
    old = compute.call("GET", f"/flavors/{flavor}", version="2.1").json["flavor"]
    assert old["rxtx_factor"] == 1.0
    assert old["OS-FLV-DISABLED:disabled"] is False
    assert old["swap"] == ""
    assert not {"description", "extra_specs"} & old.keys()
    body = {"flavor": {"name": "n", "ram": 1, "vcpus": 1, "disk": 1, "description": "x"}}
    answer = compute.call("POST", "/flavors", body, who="admin", version="2.54")
    assert answer.status == 400
    assert "('description' was unexpected)" in answer.json["badRequest"]["message"]
    body["flavor"] |= {"rxtx_factor": 2.0}
    assert compute.call("POST", "/flavors", body, who="admin", version="2.101").json["flavor"]["rxtx_factor"] == 2.0


def test_lists_are_filtered_sorted_and_paged(compute: Compute) -> None:
    big = new(compute, id="9")
    names = [one["name"] for one in compute.call("GET", "/flavors?minRam=2000").json["flavors"]]
    assert names == ["m1.small", "big"]
    assert [one["id"] for one in compute.call("GET", "/flavors?sort_key=name&sort_dir=asc").json["flavors"]] == [big, "2", "1"]
    page = compute.call("GET", "/flavors/detail?limit=2").json
    assert "marker=2" in page["flavors_links"][0]["href"]
    assert [one["id"] for one in compute.call("GET", "/flavors?limit=2&marker=2").json["flavors"]] == [big]
    assert [one["id"] for one in compute.call("GET", "/flavors?name=big").json["flavors"]] == [big]
    assert compute.call("GET", "/flavors?unknown=1").status == 400
    assert compute.call("GET", "/flavors?unknown=1", version="2.1").status == 200
    assert compute.call("GET", "/flavors?marker=nothing").status == 400


def test_a_private_flavor_is_for_those_who_were_given_access(compute: Compute) -> None:
    flavor = new(compute, "secret", **{"os-flavor-access:is_public": False})
    assert compute.call("GET", f"/flavors/{flavor}").status == 404
    project = compute.cloud.project_id()
    given = compute.call("POST", f"/flavors/{flavor}/action", {"addTenantAccess": {"tenant": project}}, who="admin")
    assert given.json["flavor_access"] == [{"flavor_id": flavor, "tenant_id": project}]
    assert compute.call("GET", f"/flavors/{flavor}").status == 200
    assert compute.call("GET", f"/flavors/{flavor}", who="other_project_member").status == 404
    assert flavor in [one["id"] for one in compute.call("GET", "/flavors").json["flavors"]]
    assert flavor not in [one["id"] for one in compute.call("GET", "/flavors", who="admin").json["flavors"]]
    assert flavor in [one["id"] for one in compute.call("GET", "/flavors?is_public=none", who="admin").json["flavors"]]
    taken = compute.call("POST", f"/flavors/{flavor}/action", {"removeTenantAccess": {"tenant": project}}, who="admin")
    assert taken.json == {"flavor_access": []}
    assert compute.call("GET", f"/flavors/{flavor}").status == 404


def test_access_to_a_public_flavor_means_nothing(compute: Compute) -> None:
    body = {"addTenantAccess": {"tenant": "p"}}
    assert compute.call("POST", "/flavors/1/action", body, who="admin").status == 409
    assert compute.call("POST", "/flavors/1/action", body, who="admin", version="2.6").status == 200
    assert compute.call("GET", "/flavors/1/os-flavor-access", who="admin").status == 404


def test_extra_specs_are_set_shown_and_removed(compute: Compute) -> None:
    path = "/flavors/1/os-extra_specs"
    assert compute.call("POST", path, {"extra_specs": {"hw:a": "1", "b": 2}}, who="admin").json == {"extra_specs": {"hw:a": "1", "b": "2"}}
    assert compute.call("PUT", f"{path}/b", {"b": "3"}, who="admin").json == {"b": "3"}
    assert compute.call("PUT", f"{path}/b", {"c": "3"}, who="admin").status == 400
    assert compute.call("GET", path).json == {"extra_specs": {"hw:a": "1", "b": "3"}}
    assert compute.call("DELETE", f"{path}/b", who="admin").status == 200
    assert compute.call("GET", f"{path}/b").status == 404
    assert compute.call("GET", "/flavors/1").json["flavor"]["extra_specs"] == {"hw:a": "1"}
