"""Rules of placement as a user meets them at POST /servers."""

import pytest

from tests.api.compute.conftest import Compute


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ({"query": '[">=", "$free_ram_mb", 1024]'}, "query is not supported: use traits"),
        ({"build_near_host_ip": "192.0.2.1", "cidr": "/24"}, "build_near_host_ip is not supported: use same_host"),
        ({"different_cell": ["a"]}, "different_cell is not supported"),
    ],
)
def test_a_hint_that_nothing_heeds_is_refused(compute: Compute, hints: dict[str, object], words: str) -> None:
    body = {"server": {"name": "x", "imageRef": compute.image, "flavorRef": "1", "networks": "auto"}, "os:scheduler_hints": hints}
    answer = compute.call("POST", "/servers", body)
    assert answer.status == 400 and words in answer.json["badRequest"]["message"]


def test_a_zone_is_one_that_some_host_is_in(compute: Compute) -> None:
    body = {"name": "x", "imageRef": compute.image, "flavorRef": "1", "networks": "auto", "availability_zone": "mars"}
    assert compute.call("POST", "/servers", {"server": body}).status == 400
    assert compute.call("POST", "/servers", {"server": {**body, "availability_zone": "nova"}}).status == 202
