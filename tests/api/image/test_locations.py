"""Locations: what lies at an address is fetched, looked at and kept here."""

import hashlib
from typing import Any

import pytest

from tests.api.harness import Answer, TestCloud
from tests.api.image.calls import IMAGES, active, create, show
from tests.api.image.test_imports import CONTENT, cloud, ended, tasks, web

__all__ = ["cloud", "web"]  # fixtures


def add(cloud: TestCloud, image: dict[str, Any], url: str, **data: str) -> Answer:
    return cloud.call("POST", f"{IMAGES}/{image['id']}/locations", token="member", json={"url": url, "validation_data": data})


def test_a_location_fills_the_image(cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    assert add(cloud, image, f"{web}/image").status == 202
    assert ended(cloud, image)["status"] == "success"
    seen = show(cloud, image)
    assert (seen["status"], seen["os_hash_algo"]) == ("active", "sha512")
    assert seen["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert add(cloud, image, f"{web}/image").status == 409


def test_the_hash_that_was_said_is_held_and_shown(cloud: TestCloud, web: str) -> None:
    right, wrong = create(cloud), create(cloud)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert add(cloud, right, f"{web}/image", os_hash_algo="sha256", os_hash_value=digest).status == 202
    assert ended(cloud, right)["status"] == "success"
    assert (show(cloud, right)["os_hash_algo"], show(cloud, right)["os_hash_value"]) == ("sha256", digest)
    assert add(cloud, wrong, f"{web}/image", os_hash_algo="sha512", os_hash_value="beefdead" * 16).status == 202
    task = ended(cloud, wrong)
    assert task["status"] == "failure" and "another sha512" in task["message"]
    assert (show(cloud, wrong)["status"], show(cloud, wrong)["os_hash_value"]) == ("queued", None)


@pytest.mark.parametrize(
    "data",
    [
        {"os_hash_algo": "sha512", "os_hash_value": "dbc9"},
        {"os_hash_value": "0" * 128},
        {"os_hash_algo": "sha512"},
        {"os_hash_algo": "sha123", "os_hash_value": "0" * 64},
        {"os_hash_algo": "sha512", "os_hash_value": "0" * 64},
    ],
)
def test_a_hash_that_is_none_is_refused(data: dict[str, str], cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    assert add(cloud, image, f"{web}/image", **data).status == 400
    assert show(cloud, image)["status"] == "queued" and tasks(cloud, image) == []


def test_an_address_inside_is_refused(cloud: TestCloud) -> None:
    answer = add(cloud, create(cloud), "http://169.254.169.254/image")
    assert answer.status == 400 and b"does not pass filtering" in answer.body
    assert add(cloud, create(cloud), "file:///etc/passwd").status == 400


def test_only_services_are_told_where_content_lies(cloud: TestCloud) -> None:
    image = active(cloud, data=b"content")
    path = f"{IMAGES}/{image['id']}/locations"
    assert cloud.call("GET", path, token="member").status == 403
    (one,) = cloud.call("GET", path, token="admin").json
    assert one["url"] == (cloud.cloud.images / hashlib.sha256(b"content").hexdigest()).as_uri()
    assert cloud.call("GET", f"{IMAGES}/{create(cloud)['id']}/locations", token="admin").json == []
