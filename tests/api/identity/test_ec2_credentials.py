"""Keys of the EC2 form."""

from tests.api.harness import TestCloud

V3 = "/identity/v3"


def test_a_key_lives_its_life(cloud: TestCloud) -> None:
    user, project = cloud.user_id("member"), cloud.project_id()
    place = f"{V3}/users/{user}/credentials/OS-EC2"
    made = cloud.call("POST", place, token="member", json={"tenant_id": project})
    assert made.status == 201, made
    key = made.json["credential"]
    assert (key["user_id"], key["tenant_id"], key["trust_id"]) == (user, project, None)
    assert key["access"] != key["secret"] and len(key["secret"]) >= 32
    assert cloud.call("GET", f"{place}/{key['access']}", token="member").json["credential"] == key
    assert cloud.call("GET", place, token="member").json["credentials"] == [key]
    assert cloud.call("GET", place, token="admin").json["credentials"] == [key]
    for method, path in (("GET", place), ("GET", f"{place}/{key['access']}"), ("DELETE", f"{place}/{key['access']}")):
        assert cloud.call(method, path, token="reader").status == 403
    kept = cloud.call("GET", f"{V3}/credentials?type=ec2", token="member").json["credentials"]
    assert [one["project_id"] for one in kept] == [project]
    assert cloud.call("DELETE", f"{place}/{key['access']}", token="member").status == 204
    assert cloud.call("GET", f"{place}/{key['access']}", token="member").status == 404


def test_a_key_is_for_a_project_that_is_there(cloud: TestCloud) -> None:
    place = f"{V3}/users/{cloud.user_id('member')}/credentials/OS-EC2"
    assert cloud.call("POST", place, token="member", json={"tenant_id": "none"}).status == 404
    assert cloud.call("POST", place, token="reader", json={"tenant_id": cloud.project_id()}).status == 403


def test_a_reader_makes_no_key_for_itself(cloud: TestCloud) -> None:
    place = f"{V3}/users/{cloud.user_id('reader')}/credentials/OS-EC2"
    assert cloud.call("POST", place, token="reader", json={"tenant_id": cloud.project_id()}).status == 403
    assert cloud.call("GET", place, token="reader").status == 200
