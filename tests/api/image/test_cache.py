"""Cache management: images kept at hand in memory."""

import time
from typing import Any

from tests.api.harness import TestCloud
from tests.api.image.calls import IMAGES, active, create

CACHE = "/image/v2/cache"


def cached(cloud: TestCloud) -> dict[str, Any]:
    """What the cache holds, once nothing waits for it."""
    deadline = time.monotonic() + 30
    while (seen := cloud.call("GET", CACHE, token="admin").json)["queued_images"]:
        assert time.monotonic() < deadline, seen
    return {one["image_id"]: one for one in seen["cached_images"]}


def test_an_image_is_cached_used_and_let_go(cloud: TestCloud) -> None:
    image, other = active(cloud, "one", b"content"), active(cloud, "two", b"other")
    assert cached(cloud) == {}
    for one in (image, other, image):
        assert cloud.call("PUT", f"{CACHE}/{one['id']}", token="admin").status == 202
    entry = cached(cloud)[image["id"]]
    assert (entry["hits"], entry["size"]) == (0, 7) and set(cached(cloud)) == {image["id"], other["id"]}
    cloud.call("GET", f"{IMAGES}/{image['id']}/file", token="member")
    assert cached(cloud)[image["id"]]["hits"] == 1
    assert cloud.call("DELETE", f"{CACHE}/{image['id']}", token="admin").status == 204
    assert cloud.call("DELETE", f"{CACHE}/{image['id']}", token="admin").status == 404
    assert set(cached(cloud)) == {other["id"]}
    assert cloud.call("DELETE", CACHE, token="admin", headers={"x-image-cache-clear-target": "invalid"}).status == 400
    assert cloud.call("DELETE", CACHE, token="admin", headers={"x-image-cache-clear-target": "queue"}).status == 204
    assert set(cached(cloud)) == {other["id"]}
    assert cloud.call("DELETE", CACHE, token="admin").status == 204
    assert cached(cloud) == {}


def test_only_an_image_with_content_is_cached_and_a_deleted_one_is_not(cloud: TestCloud) -> None:
    assert cloud.call("PUT", f"{CACHE}/{create(cloud)['id']}", token="admin").status == 400
    assert cloud.call("PUT", f"{CACHE}/nothing", token="admin").status == 404
    image = active(cloud)
    assert cloud.call("PUT", f"{CACHE}/{image['id']}", token="member").status == 403
    assert cloud.call("PUT", f"{CACHE}/{image['id']}", token="admin").status == 202
    assert set(cached(cloud)) == {image["id"]}
    assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", token="member").status == 204
    assert cached(cloud) == {}
