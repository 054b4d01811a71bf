"""Images through the API: create, show, change, delete, and what is refused."""

import re
import uuid

import pytest

from pileus.store.quotas import set_limits
from tests.api.harness import TestCloud
from tests.api.image.calls import IMAGES, OCTETS, PATCH, active, create, files, patch, show, upload


def test_a_new_image_waits_for_its_content(cloud: TestCloud) -> None:
    answer = cloud.call("POST", IMAGES, token="member", json={"name": "debian", "os_distro": "debian", "tags": ["a"]})
    image = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"http://cloud.test{IMAGES}/{image['id']}"
    assert (image["status"], image["visibility"], image["owner"]) == ("queued", "shared", cloud.project_id())
    assert (image["os_distro"], image["tags"], image["size"], image["checksum"]) == ("debian", ["a"], None, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", image["created_at"])
    assert image["self"] == f"/v2/images/{image['id']}" and image["file"] == f"{image['self']}/file"
    assert show(cloud, image) == image


def test_a_client_may_choose_the_id_once(cloud: TestCloud) -> None:
    chosen = str(uuid.uuid4())
    assert create(cloud, id=chosen)["id"] == chosen
    answer = cloud.call("POST", IMAGES, token="member", json={"id": chosen})
    assert answer.status == 409 and b"already exists" in answer.body
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"visibility": "public"}, 403, b"publicize_image"),
        ({"owner": "someone"}, 403, b"owned by"),
        ({"status": "active"}, 403, b"read-only"),
        ({"min_disk": -1}, 400, b"min_disk"),
        ({"disk_format": "aki", "container_format": "bare"}, 400, b"Invalid mix"),
        ([], 400, b"object"),
        ({"tags": [str(number) for number in range(129)]}, 413, b"128"),
    ],
)
def test_what_may_not_be_created_is_refused(shared_cloud: TestCloud, body: object, status: int, words: bytes) -> None:
    answer = shared_cloud.call("POST", IMAGES, token="member", json=body)
    assert answer.status == status and words in answer.body, answer


def test_an_admin_makes_public_images_and_images_for_others(cloud: TestCloud) -> None:
    image = create(cloud, token="admin", visibility="public", owner="someone")
    assert (image["visibility"], image["owner"]) == ("public", "someone")
    assert show(cloud, image, "other_project_member")["id"] == image["id"]


def test_a_repeated_key_creates_one_image(cloud: TestCloud) -> None:
    answers = [cloud.call("POST", IMAGES, token="member", json={"name": "x"}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json == answers[1].json and answers[1].status == 201
    assert len(cloud.call("GET", IMAGES, token="member").json["images"]) == 1


def test_quota_is_told_as_too_large(cloud: TestCloud) -> None:
    project = cloud.project_id()
    cloud.write(lambda tx: set_limits(tx, project, {"image_count_total": 1}))
    create(cloud)
    assert cloud.call("POST", IMAGES, token="member", json={}).status == 413
    usage = cloud.call("GET", "/image/v2/info/usage", token="member").json["usage"]
    assert usage["image_count_total"] == {"limit": 1, "usage": 1}


def test_the_size_of_all_content_is_a_quota(cloud: TestCloud) -> None:
    project, mib = cloud.project_id(), 1 << 20
    cloud.write(lambda tx: set_limits(tx, project, {"image_size_total": 2, "image_count_uploading": 1}))
    active(cloud, "small", b"x" * 100)
    large = create(cloud, "large")
    assert upload(cloud, large, b"y" * (mib + 1)).status == 413
    assert show(cloud, large)["status"] == "queued" and len(files(cloud)) == 1
    assert upload(cloud, large, b"y" * mib).status == 204
    assert upload(cloud, create(cloud), b"z").status == 413
    usage = cloud.call("GET", "/image/v2/info/usage", token="member").json["usage"]
    assert usage["image_size_total"] == {"limit": 2, "usage": 2}
    cloud.call("DELETE", f"{IMAGES}/{large['id']}", token="member")
    assert cloud.call("PUT", f"{IMAGES}/{create(cloud)['id']}/stage", token="member", content=b"s", headers=OCTETS).status == 204
    assert upload(cloud, create(cloud), b"t").status == 413


def test_a_patch_changes_attributes_and_properties(cloud: TestCloud) -> None:
    image = create(cloud, os_distro="debian")
    answer = patch(
        cloud,
        image,
        {"op": "replace", "path": "/name", "value": "two"},
        {"op": "add", "path": "/hw_disk_bus", "value": "virtio"},
        {"op": "remove", "path": "/os_distro"},
        {"op": "replace", "path": "/visibility", "value": "community"},
        {"op": "replace", "path": "/tags", "value": ["b", "b"]},
    )
    assert answer.status == 200, answer
    assert answer.json == show(cloud, image)
    assert (answer.json["name"], answer.json["hw_disk_bus"], answer.json["visibility"], answer.json["tags"]) == (
        "two",
        "virtio",
        "community",
        ["b"],
    )
    assert "os_distro" not in answer.json


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "replace", "path": "/size", "value": 1}, 403),
        ({"op": "remove", "path": "/name"}, 403),
        ({"op": "add", "path": "/locations/-", "value": {"url": "file:///etc/shadow", "metadata": {}}}, 403),
        ({"op": "replace", "path": "/visibility", "value": "public"}, 403),
        ({"op": "replace", "path": "/owner", "value": "me"}, 403),
        ({"op": "remove", "path": "/absent"}, 409),
        ({"op": "replace", "path": "/name", "value": 5}, 400),
        ({"op": "test", "path": "/name", "value": "x"}, 400),
    ],
)
def test_what_may_not_be_patched_is_refused_and_changes_nothing(shared_cloud: TestCloud, operation: dict[str, object], status: int) -> None:
    image = create(shared_cloud)
    assert patch(shared_cloud, image, {"op": "replace", "path": "/name", "value": "x"}, operation).status == status
    assert show(shared_cloud, image) == image


def test_a_patch_has_a_media_type_of_its_own(shared_cloud: TestCloud) -> None:
    image = create(shared_cloud)
    path = f"{IMAGES}/{image['id']}"
    plain = shared_cloud.call("PATCH", path, token="member", json=[])
    assert plain.status == 415 and "v2.1-json-patch" in plain.headers["accept-patch"]
    old = {"content-type": "application/openstack-images-v2.0-json-patch"}
    assert shared_cloud.call("PATCH", path, token="member", json=[{"replace": "/name", "value": "y"}], headers=old).json["name"] == "y"
    assert shared_cloud.call("PATCH", path, token="member", json={}, headers=PATCH).status == 400


def test_another_project_changes_nothing_that_it_sees(cloud: TestCloud) -> None:
    image = create(cloud, visibility="community")
    rename = {"op": "replace", "path": "/name", "value": "mine"}
    assert show(cloud, image, "other_project_member") == image
    assert patch(cloud, image, rename, token="other_project_member").status == 403
    assert upload(cloud, image, b"x", token="other_project_member").status == 403
    assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", token="other_project_member").status == 403
    private = create(cloud, visibility="private")
    assert patch(cloud, private, rename, token="other_project_member").status == 404
    assert upload(cloud, private, b"x", token="other_project_member").status == 404


def test_delete_removes_the_image_and_its_file(cloud: TestCloud) -> None:
    image = active(cloud, protected=True)
    path = f"{IMAGES}/{image['id']}"
    refused = cloud.call("DELETE", path, token="member")
    assert refused.status == 403 and b"is protected" in refused.body
    assert patch(cloud, image, {"op": "replace", "path": "/protected", "value": False}).status == 200
    assert cloud.call("DELETE", path, token="member").status == 204
    assert cloud.call("GET", path, token="member").status == 404
    assert cloud.call("DELETE", path, token="member").status == 404
    assert files(cloud) == []


def test_tags_come_and_go_one_by_one(cloud: TestCloud) -> None:
    image = create(cloud, tags=["a"])
    path = f"{IMAGES}/{image['id']}/tags"
    assert [cloud.call("PUT", f"{path}/b", token="member").status for _ in range(2)] == [204, 204]
    assert show(cloud, image)["tags"] == ["a", "b"]
    assert [cloud.call("DELETE", f"{path}/a", token="member").status for _ in range(2)] == [204, 404]
    assert cloud.call("PUT", f"{path}/{'x' * 256}", token="member").status == 400
    assert show(cloud, image)["tags"] == ["b"]


def test_versions_and_descriptions(shared_cloud: TestCloud) -> None:
    choices = shared_cloud.call("GET", "/image/")
    assert choices.status == 300 and choices.json["versions"][0]["status"] == "CURRENT"
    versions = shared_cloud.call("GET", "/image/versions")
    assert versions.status == 200 and versions.json == choices.json
    assert {one["links"][0]["href"] for one in versions.json["versions"]} == {"http://cloud.test/image/v2/"}
    schema = shared_cloud.call("GET", "/image/v2/schemas/image", token="member").json
    shown = create(shared_cloud)
    assert set(shown) <= set(schema["properties"])
    for name in ("images", "member", "members"):
        assert shared_cloud.call("GET", f"/image/v2/schemas/{name}", token="member").json["name"] == name
    assert shared_cloud.call("GET", "/image/v2/schemas/none", token="member").status == 404
    methods = shared_cloud.call("GET", "/image/v2/info/import", token="member").json["import-methods"]
    assert methods["value"] == ["glance-direct", "web-download", "glance-download", "copy-image"]
    assert shared_cloud.call("GET", "/image/v2/info/stores", token="member").json["stores"][0]["id"] == "local"


def test_who_does_not_see_an_image_is_told_that_it_is_not_there_whatever_is_asked(cloud: TestCloud) -> None:
    hidden, community = create(cloud, visibility="private", token="other_project_member"), create(cloud, visibility="community")
    for persona, image, status in (("reader", hidden, 404), ("reader", community, 403)):
        for method, path in (("DELETE", ""), ("PUT", "/tags/t"), ("PUT", "/file"), ("POST", "/actions/deactivate"), ("GET", "/file")):
            answer = cloud.call(method, f"{IMAGES}/{image['id']}{path}", token=persona)
            assert answer.status == status, (persona, method, path)


def test_who_does_not_see_a_namespace_is_told_that_it_is_not_there(cloud: TestCloud) -> None:
    namespaces = "/image/v2/metadefs/namespaces"
    for name, visibility in (("open", "public"), ("closed", "private")):
        made = cloud.call("POST", namespaces, token="admin", json={"namespace": name, "visibility": visibility})
        assert made.status == 201
    assert cloud.call("DELETE", f"{namespaces}/open", token="member").status == 403
    assert cloud.call("DELETE", f"{namespaces}/closed", token="member").status == 404
    assert cloud.call("POST", f"{namespaces}/closed/tags/t", token="member").status == 404
