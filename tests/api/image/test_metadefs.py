"""Metadata definitions: namespaces and what stands in them."""

from typing import Any

import pytest

from tests.api.harness import Answer, TestCloud

PLACE = "/image/v2/metadefs/namespaces"


def make(cloud: TestCloud, name: str = "Weather", token: str = "admin", **fields: Any) -> Answer:
    return cloud.call("POST", PLACE, token=token, json={"namespace": name, "visibility": "public", **fields})


def names(cloud: TestCloud, query: str = "", token: str = "reader") -> list[str]:
    return [one["namespace"] for one in cloud.call("GET", f"{PLACE}?{query}", token=token).json["namespaces"]]


FULL: dict[str, Any] = {
    "display_name": "The weather",
    "description": "How it is outside",
    "resource_type_associations": [{"name": "OS::Nova::Server", "prefix": "weather_"}],
    "properties": {"wind": {"title": "Wind", "type": "integer", "minimum": 0, "maximum": 12}},
    "objects": [{"name": "Storm", "required": ["force"], "properties": {"force": {"title": "Force", "type": "integer"}}}],
    "tags": [{"name": "rain"}, {"name": "snow"}],
}


def test_a_namespace_is_made_with_all_that_stands_in_it(cloud: TestCloud) -> None:
    made = make(cloud, **FULL)
    assert made.status == 201, made
    shown = cloud.call("GET", f"{PLACE}/Weather", token="reader").json
    assert shown == made.json
    assert shown["properties"] == FULL["properties"]
    assert shown["tags"] == FULL["tags"]
    assert shown["objects"][0]["name"] == "Storm" and shown["objects"][0]["self"].endswith("/Weather/objects/Storm")
    assert shown["resource_type_associations"][0]["name"] == "OS::Nova::Server"
    assert shown["owner"] == cloud.project_id("admin")


def test_a_resource_type_s_prefix_stands_before_the_names(cloud: TestCloud) -> None:
    make(cloud, **FULL)
    shown = cloud.call("GET", f"{PLACE}/Weather?resource_type=OS::Nova::Server", token="reader").json
    assert list(shown["properties"]) == ["weather_wind"]
    assert shown["objects"][0]["required"] == ["weather_force"] and list(shown["objects"][0]["properties"]) == ["weather_force"]


def test_a_name_is_taken_once(cloud: TestCloud) -> None:
    make(cloud)
    make(cloud, "Other")
    assert make(cloud).status == 409
    assert cloud.call("PUT", f"{PLACE}/Other", token="admin", json={"namespace": "Weather"}).status == 409


def test_a_private_namespace_is_its_project_s_own(cloud: TestCloud) -> None:
    make(cloud, "Secret", visibility="private", owner=cloud.project_id("demo"))
    make(cloud, "Open")
    assert names(cloud) == ["Open", "Secret"]
    assert names(cloud, token="other_project_member") == ["Open"]
    assert cloud.call("GET", f"{PLACE}/Secret", token="other_project_member").status == 404
    assert cloud.call("GET", f"{PLACE}/Secret/tags", token="other_project_member").status == 404


def test_namespaces_come_in_pages_and_by_resource_type(cloud: TestCloud) -> None:
    for name in ("C", "A", "B"):
        make(cloud, name, resource_type_associations=[{"name": "OS::Glance::Image"}] if name != "C" else [])
    assert names(cloud, "sort_key=namespace&sort_dir=asc&limit=2") == ["A", "B"]
    assert names(cloud, "sort_key=namespace&sort_dir=asc&limit=2&marker=B") == ["C"]
    assert sorted(names(cloud, "resource_types=OS::Glance::Image,OS::Nova::Flavor")) == ["A", "B"]
    assert cloud.call("GET", f"{PLACE}?sort_key=owner", token="reader").status == 400
    assert cloud.call("GET", f"{PLACE}?limit=0", token="reader").status == 400


def test_a_protected_namespace_stays(cloud: TestCloud) -> None:
    make(cloud, protected=True, tags=[{"name": "rain"}])
    assert cloud.call("DELETE", f"{PLACE}/Weather", token="admin").status == 403
    assert cloud.call("DELETE", f"{PLACE}/Weather/tags", token="admin").status == 403
    changed = cloud.call("PUT", f"{PLACE}/Weather", token="admin", json={"namespace": "Climate", "visibility": "public"})
    assert changed.json["protected"] is False and changed.json["namespace"] == "Climate"
    assert cloud.call("DELETE", f"{PLACE}/Climate", token="admin").status == 204
    assert cloud.call("GET", f"{PLACE}/Climate", token="admin").status == 404


ITEMS = [
    ("objects", {"name": "one", "description": "d"}, {"name": "two", "required": ["a"]}),
    ("properties", {"name": "one", "title": "One", "type": "string", "enum": ["x"]}, {"name": "two", "title": "Two", "type": "number"}),
]


@pytest.mark.parametrize("plural, body, change", ITEMS, ids=[case[0] for case in ITEMS])
def test_an_item_lives_its_life(plural: str, body: dict[str, Any], change: dict[str, Any], cloud: TestCloud) -> None:
    make(cloud)
    place = f"{PLACE}/Weather/{plural}"
    made = cloud.call("POST", place, token="admin", json=body)
    assert made.status == 201, made
    assert body.items() <= made.json.items()
    assert cloud.call("POST", place, token="admin", json=body).status == 409
    assert cloud.call("GET", f"{place}/one", token="reader").json == made.json
    listed = cloud.call("GET", place, token="reader").json[plural]
    assert (list(listed.values()) if plural == "properties" else listed) == [made.json]
    changed = cloud.call("PUT", f"{place}/one", token="admin", json=change)
    assert changed.status == 200 and change.items() <= changed.json.items()
    assert cloud.call("GET", f"{place}/one", token="reader").status == 404
    assert cloud.call("DELETE", f"{place}/two", token="admin").status == 204
    cloud.call("POST", place, token="admin", json=body)
    assert cloud.call("DELETE", place, token="admin").status == 204
    assert not cloud.call("GET", place, token="reader").json[plural]


def test_tags_are_made_one_by_one_or_together(cloud: TestCloud) -> None:
    make(cloud)
    place = f"{PLACE}/Weather/tags"
    assert cloud.call("POST", f"{place}/fog", token="admin").status == 201
    assert cloud.call("POST", place, token="admin", json={"tags": [{"name": "hail"}]}, headers={"X-Openstack-Append": "True"}).status == 201
    assert [one["name"] for one in cloud.call("GET", place, token="reader").json["tags"]] == ["fog", "hail"]
    cloud.call("POST", place, token="admin", json={"tags": [{"name": "sun"}]})
    assert [one["name"] for one in cloud.call("GET", place, token="reader").json["tags"]] == ["sun"]
    assert cloud.call("PUT", f"{place}/sun", token="admin", json={"name": "moon"}).json["name"] == "moon"
    assert cloud.call("DELETE", f"{place}/moon", token="admin").status == 204
    assert cloud.call("GET", f"{place}/moon", token="reader").status == 404


def test_a_namespace_is_for_resource_types(cloud: TestCloud) -> None:
    make(cloud)
    place = f"{PLACE}/Weather/resource_types"
    assert cloud.call("POST", place, token="admin", json={"name": "OS::Own::Thing", "prefix": "x_"}).status == 201
    assert [one["prefix"] for one in cloud.call("GET", place, token="reader").json["resource_type_associations"]] == ["x_"]
    offered = [one["name"] for one in cloud.call("GET", "/image/v2/metadefs/resource_types", token="reader").json["resource_types"]]
    assert {"OS::Own::Thing", "OS::Glance::Image"} <= set(offered)
    assert cloud.call("DELETE", f"{place}/OS::Own::Thing", token="admin").status == 204


def test_a_bad_body_names_its_field(cloud: TestCloud) -> None:
    make(cloud)
    bad = cloud.call("POST", f"{PLACE}/Weather/properties", token="admin", json={"name": "p", "title": "P", "type": "colour"})
    assert bad.status == 400 and b"type" in bad.body
    assert make(cloud, "x" * 81).status == 400
    assert make(cloud, "More", size=3).status == 400


@pytest.mark.parametrize("name", ["namespace", "namespaces", "object", "objects", "property", "properties", "tag", "tags"])
def test_there_is_a_schema_of_each(name: str, cloud: TestCloud) -> None:
    shown = cloud.call("GET", f"/image/v2/schemas/metadefs/{name}", token="reader").json
    assert shown["name"] == name and shown["properties"]


def test_a_name_that_is_missing_is_not_found(cloud: TestCloud) -> None:
    for method in ("GET", "DELETE"):
        assert cloud.call(method, "/image/v2/images/", token="member").status == 404
    assert cloud.call("GET", "/image/v2/", token="nobody").status == 300
