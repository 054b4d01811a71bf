"""Short words for calls of the image service."""

from typing import Any

from pileus.api.image.files import NAMING
from tests.api.harness import Answer, TestCloud

IMAGES = "/image/v2/images"
PATCH = {"content-type": "application/openstack-images-v2.1-json-patch"}
OCTETS = {"content-type": "application/octet-stream"}


def create(cloud: TestCloud, name: str = "one", token: str = "member", **fields: Any) -> dict[str, Any]:
    """A new image, raw and bare unless said otherwise."""
    answer = cloud.call("POST", IMAGES, token=token, json={"name": name, "disk_format": "raw", "container_format": "bare", **fields})
    assert answer.status == 201, answer
    return answer.json


def upload(cloud: TestCloud, image: dict[str, Any], data: bytes, token: str = "member", headers: dict[str, str] | None = None) -> Answer:
    """PUT the image's file."""
    return cloud.call("PUT", f"{IMAGES}/{image['id']}/file", token=token, content=data, headers=OCTETS if headers is None else headers)


def active(cloud: TestCloud, name: str = "one", data: bytes = b"content", token: str = "member", **fields: Any) -> dict[str, Any]:
    """An image with content."""
    image = create(cloud, name, token, **fields)
    assert upload(cloud, image, data, token).status == 204
    return show(cloud, image, token)


def show(cloud: TestCloud, image: dict[str, Any], token: str = "member") -> dict[str, Any]:
    """The image as it is now."""
    answer = cloud.call("GET", f"{IMAGES}/{image['id']}", token=token)
    assert answer.status == 200, answer
    return answer.json


def patch(cloud: TestCloud, image: dict[str, Any], *operations: dict[str, Any], token: str = "member") -> Answer:
    """PATCH the image."""
    return cloud.call("PATCH", f"{IMAGES}/{image['id']}", token=token, json=list(operations), headers=PATCH)


def names(cloud: TestCloud, query: str = "", token: str = "member") -> list[str]:
    """The names in a list."""
    answer = cloud.call("GET", f"{IMAGES}?{query}", token=token)
    assert answer.status == 200, answer
    return [one["name"] for one in answer.json["images"]]


def files(cloud: TestCloud) -> list[str]:
    """Every file in the image directory, but the lock."""
    found = (path for path in cloud.cloud.images.rglob("*") if path.is_file() and path.name != NAMING)
    return sorted(str(path.relative_to(cloud.cloud.images)) for path in found)


def import_staged(cloud: TestCloud, image: dict[str, Any], token: str = "member", **body: Any) -> Answer:
    """Import what was staged. A refusal of the content, which is told by the task, comes as an answer: 400, with the task's words."""
    answer = cloud.call("POST", f"{IMAGES}/{image['id']}/import", token=token, json={"method": {"name": "glance-direct"}, **body})
    if answer.status == 202:
        last = cloud.call("GET", f"{IMAGES}/{image['id']}/tasks", token=token).json["tasks"][-1]
        assert last["status"] in ("success", "failure"), last
        if last["status"] == "failure":
            answer.status, answer.body = 400, last["message"].encode()
    return answer
