"""Contents that stay in the web, and the old way to say so: locations by PATCH."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.cli import settings
from pileus.config import Config
from pileus.model.errors import Invalid, Unavailable
from pileus.model.image_stores import ImageSettings, ImageStore
from tests.api.compute.conftest import Compute
from tests.api.harness import Answer, TestCloud
from tests.api.image import test_imports
from tests.api.image.calls import IMAGES, active, create, files, patch, show
from tests.api.image.test_imports import CONTENT, ended, web

__all__ = ["web"]  # a fixture


def web_cloud(web: str, **changes: Any) -> TestCloud:
    given = {"web_store": True, "show_multiple_locations": True, **changes}
    return TestCloud(import_hosts=[web.removeprefix("http://")], image=ImageSettings(**given))


@pytest.fixture
def cloud(web: str) -> Iterator[TestCloud]:
    """A cloud whose images may stay in the web."""
    made = web_cloud(web)
    yield made
    made.close()


def place(cloud: TestCloud, image: dict[str, Any], url: str, token: str = "member", at: str = "-", **more: Any) -> Answer:
    return patch(cloud, image, {"op": "add", "path": f"/locations/{at}", "value": {"url": url, **more}}, token=token)


def add(cloud: TestCloud, image: dict[str, Any], url: str, **data: str) -> Answer:
    return cloud.call("POST", f"{IMAGES}/{image['id']}/locations", token="member", json={"url": url, "validation_data": data})


def download(cloud: TestCloud, image: dict[str, Any]) -> Answer:
    return cloud.call("GET", f"{IMAGES}/{image['id']}/file", token="member")


def test_a_location_is_read_where_it_lies_after_its_hash_was_counted(cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    assert add(cloud, image, f"{web}/image").status == 202
    assert ended(cloud, image)["status"] == "success"
    seen = show(cloud, image)
    assert (seen["status"], seen["stores"], seen["size"]) == ("active", "web", len(CONTENT))
    assert (seen["os_hash_algo"], seen["os_hash_value"]) == ("sha512", hashlib.sha512(CONTENT).hexdigest())
    assert files(cloud) == [] and download(cloud, image).body == CONTENT


def test_a_location_with_another_hash_leaves_the_image_waiting_and_says_where_it_looked(cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    assert add(cloud, image, f"{web}/image", os_hash_algo="sha512", os_hash_value="beefdead" * 16).status == 202
    assert ended(cloud, image)["status"] == "failure"
    seen = show(cloud, image)
    assert (seen["status"], seen["os_hash_value"], seen["checksum"], seen["stores"]) == ("queued", None, None, "web")


def test_an_operator_may_have_what_is_said_believed(web: str) -> None:
    cloud = web_cloud(web, do_secure_hash=False)
    try:
        image, other = create(cloud), create(cloud)
        assert add(cloud, image, f"{web}/image").status == 202
        assert ended(cloud, image)["status"] == "success"
        seen = show(cloud, image)
        assert (seen["status"], seen["size"], seen["checksum"], seen["os_hash_value"]) == ("active", len(CONTENT), None, None)
        assert add(cloud, other, f"{web}/image", os_hash_algo="sha256", os_hash_value="0" * 64).status == 202
        assert ended(cloud, other)["status"] == "success"
        assert show(cloud, other)["os_hash_value"] == "0" * 64
        assert download(cloud, other).status == 503  # that was no hash of it
    finally:
        cloud.close()


def test_a_patch_with_a_location_makes_an_image_active(cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    assert show(cloud, image)["locations"] == []
    assert place(cloud, image, f"{web}/image", metadata={"foo": "bar"}).status == 200
    seen = show(cloud, image)
    assert (seen["status"], seen["size"], seen["os_hash_value"]) == ("active", len(CONTENT), None)
    assert seen["locations"] == [{"url": f"{web}/image", "metadata": {"foo": "bar", "store": "web"}}]
    assert download(cloud, image).body == CONTENT
    assert place(cloud, image, f"{web}/image#second").status == 200
    assert place(cloud, image, f"{web}/image#second").status == 400
    assert [one["url"] for one in show(cloud, image)["locations"]] == [f"{web}/image", f"{web}/image#second"]


@pytest.mark.parametrize(
    "url",
    ["gopher://info.cern.ch", "file:///etc/passwd", "http://169.254.169.254/image", "http://127.0.0.1:1/image", "pileus://local/00",
     "swift+config://ref1/container/object", "http://user:secret@example.org/image"],
)  # fmt: skip
def test_a_location_leads_nowhere_inside(url: str, cloud: TestCloud) -> None:
    image = create(cloud)
    assert place(cloud, image, url, metadata={}).status == 400
    assert show(cloud, image)["status"] == "queued" and show(cloud, image)["locations"] == []


def test_locations_are_replaced_by_themselves_alone(cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    both = [{"url": f"{web}/image", "metadata": {}}, {"url": f"{web}/image#new", "metadata": {"speed": "88mph"}}]
    assert patch(cloud, image, {"op": "replace", "path": "/locations", "value": both}).status == 200
    noted = [{**both[0], "metadata": {"date": "2015-10-15"}}, both[1]]
    assert patch(cloud, image, {"op": "replace", "path": "/locations", "value": noted}).status == 200
    other = [both[0], {"url": f"{web}/image#new3", "metadata": {}}]
    for value in ([both[0]], other, [], "text", [{"metadata": {}}]):
        assert patch(cloud, image, {"op": "replace", "path": "/locations", "value": value}).status == 400
    seen = show(cloud, image)["locations"]
    assert [one["metadata"] for one in seen] == [{"date": "2015-10-15", "store": "web"}, {"speed": "88mph", "store": "web"}]


def test_hashes_come_with_the_first_location_and_bind_the_next(cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    said = {"checksum": "1" * 32, "os_hash_algo": "sha512", "os_hash_value": "deadbeef" * 16}
    assert place(cloud, create(cloud), f"{web}/image", validation_data={**said, "os_hash_algo": "sha256"}).status == 400
    assert place(cloud, image, f"{web}/image", validation_data=said).status == 200
    seen = show(cloud, image)
    assert {name: seen[name] for name in said} == said and "validation_data" not in seen["locations"][0]
    for name, value in {"checksum": "2" * 32, "os_hash_algo": "sha256", "os_hash_value": "beefdead" * 16}.items():
        assert place(cloud, image, f"{web}/image#new", validation_data={**said, name: value}).status == 409
    assert place(cloud, image, f"{web}/image#new", validation_data=said).status == 200
    assert download(cloud, image).status == 503  # it has another hash


def test_locations_are_removed_by_administrators_down_to_the_last(cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    assert place(cloud, image, f"{web}/image").status == place(cloud, image, f"{web}/image#new").status == 200
    first = {"op": "remove", "path": "/locations/0"}
    assert patch(cloud, image, first).status == 403
    assert patch(cloud, image, {"op": "remove", "path": "/locations/7"}, token="admin").status == 400
    assert patch(cloud, image, first, token="admin").status == 200
    assert [one["url"] for one in show(cloud, image)["locations"]] == [f"{web}/image#new"]
    assert patch(cloud, image, first, token="admin").status == 403
    assert patch(cloud, image, {"op": "remove", "path": "/locations"}, token="admin").status == 403


def test_what_lies_in_the_web_is_copied_into_a_store_before_a_server_needs_it(cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    assert place(cloud, image, f"{web}/image").status == 200
    refused = Compute(cloud).call(
        "POST", "/servers", {"server": {"imageRef": image["id"], "flavorRef": "1", "name": "one", "networks": "none"}}
    )
    assert refused.status == 400 and b"copy-image" in refused.body, refused
    body = {"method": {"name": "copy-image"}, "stores": ["local"]}
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="admin", json=body).status == 202
    assert ended(cloud, image)["status"] == "success"
    seen = show(cloud, image)
    assert seen["stores"] == "local,web" and seen["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert files(cloud) == [hashlib.sha256(CONTENT).hexdigest()]
    assert patch(cloud, image, {"op": "remove", "path": "/locations/0"}, token="admin").status == 200
    assert files(cloud) == [] and show(cloud, image)["stores"] == "web" and download(cloud, image).body == CONTENT


def test_what_has_another_hash_than_was_said_is_not_copied(cloud: TestCloud, web: str) -> None:
    image = create(cloud)
    assert place(cloud, image, f"{web}/image", validation_data={"os_hash_algo": "sha256", "os_hash_value": "0" * 64}).status == 200
    body = {"method": {"name": "copy-image"}, "stores": ["local"]}
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="admin", json=body).status == 202
    assert ended(cloud, image)["status"] == "failure" and files(cloud) == []
    assert (show(cloud, image)["stores"], show(cloud, image)["status"]) == ("web", "active")


def test_what_changed_where_it_lies_is_given_to_nobody(cloud: TestCloud, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = create(cloud)
    assert add(cloud, image, f"{web}/image").status == 202
    assert ended(cloud, image)["status"] == "success"
    monkeypatch.setattr(test_imports, "CONTENT", CONTENT[::-1])
    assert download(cloud, image).status == 503
    monkeypatch.setattr(test_imports, "CONTENT", CONTENT[:-1])
    assert download(cloud, image).status == 503


def test_only_who_owns_an_image_sees_its_locations(cloud: TestCloud, web: str) -> None:
    image = create(cloud, visibility="community")
    assert place(cloud, image, f"{web}/image").status == 200
    assert "locations" not in show(cloud, image, "other_project_member")
    assert place(cloud, image, f"{web}/image#b", token="other_project_member").status == 403
    assert show(cloud, image, "admin")["locations"]


def test_without_the_setting_locations_are_neither_shown_nor_set(web: str) -> None:
    cloud = web_cloud(web, show_multiple_locations=False)
    try:
        image = active(cloud)
        assert "locations" not in image and place(cloud, image, f"{web}/image").status == 403
    finally:
        cloud.close()


@pytest.mark.parametrize(
    "given",
    [
        {"stores": {"web": ImageStore(path="/tmp")}},
        {"stores": {"a,b": ImageStore(path="/tmp")}},
        {"stores": {"disk": ImageStore(path="relative")}},
        {"stores": {"local": ImageStore(path="/tmp")}},
        {"stores": {"one": ImageStore(path="/tmp"), "two": ImageStore(path="/tmp")}},
        {"show_multiple_locations": True},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        settings.check(Config(state=str(tmp_path), image=ImageSettings(**given)))


def test_a_cloud_does_not_start_without_the_disk_of_a_store(tmp_path: Path) -> None:
    config = Config(state=str(tmp_path), image=ImageSettings(stores={"disk": ImageStore(path=str(tmp_path / "away"))}))
    settings.check(config)  # so that it can still be stopped, and looked at
    with pytest.raises(Unavailable, match="Mount its disk"):
        settings.check_stores_are_there(config)
    (tmp_path / "away").mkdir()
    settings.check_stores_are_there(config)


def test_the_content_of_a_signed_image_does_not_stay_in_the_web(cloud: TestCloud, web: str) -> None:
    image = create(cloud, img_signature="c2lnbmVk")
    for answer in (add(cloud, image, f"{web}/image"), place(cloud, image, f"{web}/image")):
        assert answer.status == 400 and b"signed image" in answer.body
    assert show(cloud, image)["status"] == "queued"
    unsigned = create(cloud)
    assert place(cloud, unsigned, f"{web}/image").status == 200
    assert patch(cloud, unsigned, {"op": "add", "path": "/img_signature", "value": "c2lnbmVk"}).status == 200
    body = {"method": {"name": "copy-image"}, "stores": ["local"]}
    assert cloud.call("POST", f"{IMAGES}/{unsigned['id']}/import", token="admin", json=body).status == 202
    task = ended(cloud, unsigned)
    assert task["status"] == "failure" and "signature can't be verified" in task["message"] and files(cloud) == []
