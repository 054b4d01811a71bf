"""Sharing an image with another project."""

from tests.api.harness import TestCloud
from tests.api.image.calls import IMAGES, create, names, show

OTHER = "other_project_member"


def test_an_image_is_offered_accepted_and_taken_back(cloud: TestCloud) -> None:
    image, other = create(cloud, "gift"), cloud.project_id("other")
    members = f"{IMAGES}/{image['id']}/members"
    assert cloud.call("GET", f"{IMAGES}/{image['id']}", token=OTHER).status == 404

    offered = cloud.call("POST", members, token="member", json={"member": other})
    assert offered.status == 200 and offered.json["status"] == "pending" and offered.json["member_id"] == other
    assert cloud.call("POST", members, token="member", json={"member": other}).status == 409
    assert show(cloud, image, OTHER)["id"] == image["id"]
    assert names(cloud, token=OTHER) == []
    assert names(cloud, "member_status=pending", token=OTHER) == ["gift"]

    assert cloud.call("PUT", f"{members}/{other}", token="member", json={"status": "accepted"}).status == 403
    assert cloud.call("PUT", f"{members}/{other}", token=OTHER, json={"status": "perhaps"}).status == 400
    assert cloud.call("PUT", f"{members}/{other}", token=OTHER, json={"status": "accepted"}).json["status"] == "accepted"
    assert names(cloud, token=OTHER) == ["gift"]
    assert names(cloud, "visibility=shared", token=OTHER) == ["gift"]

    assert cloud.call("DELETE", f"{members}/{other}", token=OTHER).status == 403
    assert cloud.call("DELETE", f"{members}/{other}", token="member").status == 204
    assert cloud.call("DELETE", f"{members}/{other}", token="member").status == 404
    assert names(cloud, token=OTHER) == []


def test_a_member_sees_itself_and_the_owner_sees_all(cloud: TestCloud) -> None:
    image, other = create(cloud), cloud.project_id("other")
    members = f"{IMAGES}/{image['id']}/members"
    for project in (other, "third"):
        assert cloud.call("POST", members, token="member", json={"member": project}).status == 200
    assert [one["member_id"] for one in cloud.call("GET", members, token="member").json["members"]] == [other, "third"]
    assert [one["member_id"] for one in cloud.call("GET", members, token=OTHER).json["members"]] == [other]
    assert cloud.call("GET", f"{members}/{other}", token=OTHER).json["image_id"] == image["id"]
    assert cloud.call("GET", f"{members}/third", token=OTHER).status == 404
    assert cloud.call("POST", members, token=OTHER, json={"member": "fourth"}).status == 403


def test_only_shared_images_have_members(cloud: TestCloud) -> None:
    for visibility in ("private", "community"):
        image = create(cloud, visibility=visibility)
        members = f"{IMAGES}/{image['id']}/members"
        assert cloud.call("GET", members, token="member").status == 403
        assert cloud.call("POST", members, token="member", json={"member": "p"}).status == 403
        assert cloud.call("GET", f"{members}/p", token="member").status == 404
    assert cloud.call("POST", f"{IMAGES}/{create(cloud)['id']}/members", token="member", json={"member": ""}).status == 400
    assert cloud.call("POST", f"{IMAGES}/{create(cloud)['id']}/members", token="member", json={}).status == 400
