"""Imports of what the cloud has already: another image's content, and copies in more stores."""

from typing import Any

import pytest

from tests.api.harness import Answer, TestCloud
from tests.api.image.calls import IMAGES, active, create, files, patch, show

NOWHERE = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"


def take(cloud: TestCloud, image: dict[str, Any], source: str, token: str = "member", **more: Any) -> Answer:
    """glance-download."""
    method = {"name": "glance-download", "glance_image_id": source, "glance_region": "RegionOne", **more}
    return cloud.call("POST", f"{IMAGES}/{image['id']}/import", token=token, json={"method": method})


def last_task(cloud: TestCloud, image: dict[str, Any], token: str = "member") -> dict[str, Any]:
    return cloud.call("GET", f"{IMAGES}/{image['id']}/tasks", token=token).json["tasks"][-1]


def test_another_images_content_formats_and_properties_are_taken_over(cloud: TestCloud) -> None:
    source = active(cloud, "source", b"content", hw_cpu_cores="5", os_distro="debian", speed="88")
    image = create(cloud, "copy", disk_format="iso", container_format="ovf", hw_cpu_cores="1", mine="stays")
    assert take(cloud, image, source["id"]).status == 202
    assert last_task(cloud, image)["status"] == "success"
    seen = show(cloud, image)
    same = ("size", "checksum", "os_hash_value", "disk_format", "container_format", "hw_cpu_cores", "os_distro")
    assert seen["status"] == "active" and {name: seen[name] for name in same} == {name: source[name] for name in same}
    assert seen["mine"] == "stays" and "speed" not in seen
    assert len(files(cloud)) == 1
    cloud.call("DELETE", f"{IMAGES}/{source['id']}", token="member")
    assert cloud.call("GET", f"{IMAGES}/{image['id']}/file", token="member").body == b"content"


@pytest.mark.parametrize("more", [{"glance_region": "elsewhere"}, {"glance_service_interface": "no interface"}, {}])
def test_what_is_not_there_fails_the_task_and_leaves_the_image_as_it_was(more: dict[str, str], cloud: TestCloud) -> None:
    image = create(cloud, os_distro="windows")
    assert take(cloud, image, NOWHERE, **more).status == 202
    task = last_task(cloud, image)
    assert task["status"] == "failure" and task["message"]
    assert show(cloud, image)["status"] == "queued" and show(cloud, image)["os_distro"] == "windows"


def test_an_image_that_the_caller_does_not_see_is_not_taken(cloud: TestCloud) -> None:
    secret = active(cloud, "secret", b"secret", visibility="private")
    image = create(cloud, token="other_project_member")
    assert take(cloud, image, secret["id"], token="other_project_member").status == 202
    assert last_task(cloud, image, token="other_project_member")["status"] == "failure"
    assert show(cloud, image, token="other_project_member")["status"] == "queued"


def test_an_id_that_is_none_and_an_image_that_has_content_are_refused_at_once(cloud: TestCloud) -> None:
    source = active(cloud)
    assert take(cloud, create(cloud), "foo").status == 400
    assert take(cloud, source, source["id"]).status == 409


def test_a_copy_to_all_stores_is_there_already(cloud: TestCloud) -> None:
    image, waiting = active(cloud), create(cloud)
    body = {"method": {"name": "copy-image"}, "all_stores": True}
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="member", json=body).status == 403
    assert cloud.call("POST", f"{IMAGES}/{waiting['id']}/import", token="admin", json=body).status == 409
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="admin", json=body).status == 202
    seen = show(cloud, image)
    assert (seen["os_glance_importing_to_stores"], seen["os_glance_failed_import"], seen["stores"]) == ("", "", "local")
    assert last_task(cloud, image)["status"] == "success"
    assert patch(cloud, image, {"op": "add", "path": "/os_distro", "value": "debian"}).status == 200
