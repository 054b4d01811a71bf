"""Versions: documents, negotiation, the table of changes."""

import itertools

from pileus.api.compute.history import CHANGES, HISTORY
from tests.api.compute.conftest import Compute


def test_version_documents_need_no_token(compute: Compute) -> None:
    listed = compute.cloud.call("GET", "/compute/").json["versions"]
    assert [(one["id"], one["version"], one["min_version"]) for one in listed] == [("v2.0", "", ""), ("v2.1", "2.104", "2.1")]
    one = compute.cloud.call("GET", "/compute/v2.1/").json["version"]
    assert one["links"][0]["href"] == "http://cloud.test/compute/v2.1/"


def test_the_answer_says_its_version(compute: Compute) -> None:
    answer = compute.call("GET", "/flavors", version="2.50")
    assert answer.headers["openstack-api-version"] == "compute 2.50"
    assert answer.headers["x-openstack-nova-api-version"] == "2.50"
    plain = compute.cloud.call("GET", "/compute/v2.1/flavors", "member")
    assert plain.headers["openstack-api-version"] == "compute 2.1"
    legacy = compute.cloud.call("GET", "/compute/v2.1/flavors", "member", headers={"x-openstack-nova-api-version": "2.9"})
    assert legacy.headers["openstack-api-version"] == "compute 2.9"
    latest = compute.cloud.call("GET", "/compute/v2.1/flavors", "member", headers={"openstack-api-version": "compute latest"})
    assert latest.headers["openstack-api-version"] == "compute 2.104"


def test_a_version_that_is_not_there_is_not_acceptable(compute: Compute) -> None:
    answer = compute.call("GET", "/flavors", version="2.999")
    assert answer.status == 406
    assert answer.json["errors"][0]["max_version"] == "2.104"
    assert compute.call("GET", "/flavors", version="odd").status == 400


def test_every_version_has_its_line(compute: Compute) -> None:
    assert [change.version for change in CHANGES] == [(2, minor) for minor in range(104, 1, -1)]
    assert all(change.text.endswith(".") for change in CHANGES)
    assert HISTORY.maximum == CHANGES[0].version


def test_fields_never_come_back_as_versions_go_down(compute: Compute) -> None:
    """Going from version to version, a server's fields change only where the table says that it changes servers."""
    server = compute.running()
    touched = {change.version for change in CHANGES if "server" in change.responses}
    shown = {minor: set(compute.show(server, version=f"2.{minor}", who="admin")) for minor in range(1, 105)}
    for lower, upper in itertools.pairwise(range(1, 105)):
        if shown[lower] != shown[upper]:
            assert (2, upper) in touched
            assert shown[lower] < shown[upper]
    assert "OS-EXT-SRV-ATTR:hostname" not in compute.show(server, version="2.89")
    assert "OS-EXT-SRV-ATTR:hostname" in compute.show(server, version="2.90")
    assert "id" in compute.show(server, version="2.46")["flavor"]
    assert "original_name" in compute.show(server, version="2.47")["flavor"]


def test_proxies_are_gone(compute: Compute) -> None:
    assert compute.call("GET", "/images", version="2.36").status == 404
    assert compute.call("GET", "/images", version="2.35").status == 200
    assert compute.call("GET", "/os-cells", who="admin").status == 410
    assert compute.call("GET", "/nothing").status == 404
    assert compute.cloud.call("GET", "/compute/v2.1/nothing").status == 401


def test_a_path_may_name_the_tokens_project(compute: Compute) -> None:
    project = compute.cloud.project_id()
    server = compute.create()
    shown = compute.call("GET", f"/{project}/servers/{server}").json["server"]
    assert [link["href"] for link in shown["links"]] == [
        f"http://cloud.test/compute/v2.1/{project}/servers/{server}",
        f"http://cloud.test/compute/{project}/servers/{server}",
    ]
    listed = compute.call("GET", f"/{project}/servers/detail").json["servers"]
    assert listed[0]["links"] == shown["links"]
    assert (
        compute.call("GET", "/servers/detail").json["servers"][0]["links"][0]["href"] == f"http://cloud.test/compute/v2.1/servers/{server}"
    )
    assert compute.call("POST", f"/{project}/servers/{server}/action", {"unlock": None}).status == 202
    assert compute.call("DELETE", f"/{project}/servers/{server}").status == 204


def test_a_path_with_another_project_is_malformed(compute: Compute) -> None:
    other = compute.cloud.project_id("other")
    assert compute.call("GET", f"/{other}/servers").status == 400
    assert compute.call("GET", f"/{other}/servers", who="admin").status == 400
    assert compute.call("GET", f"/{other}/servers", who="nobody").status == 401


def test_the_version_of_before_microversions_is_listed_first_and_served(compute: Compute) -> None:
    call = compute.cloud.call
    listed = call("GET", "/compute/").json["versions"]
    assert [one["id"] for one in listed] == ["v2.0", "v2.1"]
    shown = call("GET", "/compute/v2/").json["version"]
    assert (shown["id"], shown["links"]) == ("v2.0", listed[0]["links"])
    server = compute.create()
    assert call("GET", f"/compute/v2/servers/{server}", token=compute.cloud.token("member")).json["server"]["id"] == server
