"""Lists of images: filters, order, pages."""

from collections.abc import Iterator

import pytest

from tests.api.harness import TestCloud
from tests.api.image.calls import IMAGES, active, create, names


@pytest.fixture(scope="module")
def library() -> Iterator[TestCloud]:
    """A cloud with some images."""
    cloud = TestCloud()
    active(cloud, "alpha", b"x" * 10, tags=["a", "both"], os_distro="debian", min_ram=64)
    active(cloud, "beta", b"x" * 2000, tags=["b", "both"], os_distro="alpine", protected=True)
    create(cloud, "gamma", disk_format="qcow2", visibility="private")
    create(cloud, "delta, with comma", container_format="ova", visibility="community")
    create(cloud, "hidden", os_hidden=True)
    create(cloud, "base", token="admin", visibility="public")
    yield cloud
    cloud.close()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=alpha", {"alpha"}),
        ("name=in:alpha,beta", {"alpha", "beta"}),
        ('name=in:gamma,"delta, with comma"', {"gamma", "delta, with comma"}),
        ("status=queued", {"gamma", "delta, with comma", "base"}),
        ("status=in:active,saving", {"alpha", "beta"}),
        ("visibility=private", {"gamma"}),
        ("visibility=public", {"base"}),
        ("visibility=community", {"delta, with comma"}),
        ("visibility=all", {"alpha", "beta", "gamma", "delta, with comma", "base"}),
        ("disk_format=qcow2", {"gamma"}),
        ("container_format=in:ova,ovf", {"delta, with comma"}),
        ("size_min=11", {"beta"}),
        ("size_max=10", {"alpha"}),
        ("size=10", {"alpha"}),
        ("min_ram=64", {"alpha"}),
        ("tag=both", {"alpha", "beta"}),
        ("tag=both&tag=a", {"alpha"}),
        ("tag=A", set()),
        ("os_distro=debian", {"alpha"}),
        ("os_distro=Debian", set()),
        ("protected=true", {"beta"}),
        ("protected=False&status=active", {"alpha"}),
        ("os_hidden=true", {"hidden"}),
        ("created_at=gt:2020-01-01T00:00:00Z&status=active", {"alpha", "beta"}),
        ("created_at=lt:2020-01-01T00:00:00Z", set()),
        ("updated_at=gte:2020-01-01T00:00:00&name=alpha", {"alpha"}),
        ("owner=nobody", set()),
        ("", {"alpha", "beta", "gamma", "delta, with comma", "base"}),
    ],
)
def test_filters(library: TestCloud, query: str, found: set[str]) -> None:
    assert set(names(library, query)) == found


def test_an_image_is_found_by_what_is_shown_of_it(library: TestCloud) -> None:
    alpha = library.call("GET", f"{IMAGES}?name=alpha", token="member").json["images"][0]
    for field in ("id", "checksum", "os_hash_value", "owner", "created_at", "updated_at"):
        assert "alpha" in names(library, f"{field}={alpha[field]}"), field
    assert "alpha" not in names(library, f"created_at=gt:{alpha['created_at']}")
    assert "alpha" in names(library, f"created_at=lte:{alpha['created_at']}")
    assert "alpha" not in names(library, f"created_at=neq:{alpha['created_at']}")


def test_order(library: TestCloud) -> None:
    upwards = ["alpha", "base", "beta", "delta, with comma", "gamma"]
    assert names(library, "sort=name:asc") == upwards
    assert names(library, "sort_key=name&sort_dir=desc") == upwards[::-1]
    assert names(library, "sort=status:asc,name:desc")[:2] == ["beta", "alpha"]
    assert names(library, "sort_key=status&sort_key=name&sort_dir=asc")[:2] == ["alpha", "beta"]
    assert names(library)[0] == "base"  # the newest


def test_pages_lead_through_the_whole_list(library: TestCloud) -> None:
    path, seen = "/v2/images?limit=2&sort=size:desc,name:asc", []
    while path:
        page = library.call("GET", f"/image{path}", token="member").json
        assert page["schema"] == "/v2/schemas/images" and page["first"].startswith("/v2/images?limit=2&sort=")
        assert len(page["images"]) <= 2
        seen += [one["name"] for one in page["images"]]
        path = page.get("next")
    assert seen == ["beta", "alpha", "base", "delta, with comma", "gamma"]
    assert names(library, "limit=0") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1", "limit=x", "marker=unknown", "sort=colour", "sort=name:up", "sort=name&sort_key=name",
        "visibility=secret", "status=lost", "member_status=maybe", "size_min=x", "size_max=-1",
        "protected=perhaps", "os_hidden=1", "created_at=gt:yesterday", "changes-since=2020-01-01", 'name=in:"a',
        "sort_key=name&sort_key=id&sort_key=size&sort_dir=asc&sort_dir=desc",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(library: TestCloud, query: str) -> None:
    assert library.call("GET", f"{IMAGES}?{query}", token="member").status == 400


def test_others_see_what_is_for_them(library: TestCloud) -> None:
    assert names(library, token="other_project_member") == ["base"]
    assert names(library, "visibility=community", token="other_project_member") == ["delta, with comma"]
    mine = library.call("GET", f"{IMAGES}?name=alpha", token="member").json["images"][0]["id"]
    assert library.call("GET", f"{IMAGES}/{mine}", token="other_project_member").status == 404
    assert library.call("GET", f"{IMAGES}?marker={mine}", token="other_project_member").status == 400
