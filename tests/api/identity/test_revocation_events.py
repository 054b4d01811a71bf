"""What is told of what was revoked."""

import time

from tests.api.harness import TestCloud

V3 = "/identity/v3"


def events(cloud: TestCloud, query: str = "", token: str = "admin") -> list[dict[str, str]]:
    answer = cloud.call("GET", f"{V3}/OS-REVOKE/events{query}", token=token)
    assert answer.status == 200, answer
    return [{name: value for name, value in one.items() if name not in ("issued_before", "revoked_at")} for one in answer.json["events"]]


def test_each_event_says_which_tokens_are_void(cloud: TestCloud) -> None:
    user, project = cloud.user_id("member"), cloud.project_id()
    role = cloud.call("GET", f"{V3}/roles?name=member", token="admin").json["roles"][0]["id"]
    cloud.call("DELETE", f"{V3}/projects/{project}/users/{user}/roles/{role}", token="admin")
    assert {"user_id": user, "project_id": project} in events(cloud)
    cloud.call("PATCH", f"{V3}/users/{user}", token="admin", json={"user": {"enabled": False}})
    assert {"user_id": user} in events(cloud)
    assert events(cloud, f"?since={time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 60))}") == []
    assert cloud.call("GET", f"{V3}/OS-REVOKE/events?since=soon", token="admin").status == 400


def test_no_event_is_without_a_name(cloud: TestCloud) -> None:
    role = cloud.call("POST", f"{V3}/roles", token="admin", json={"role": {"name": "r"}}).json["role"]["id"]
    path = f"{V3}/users/{cloud.user_id('member')}/application_credentials"
    made = cloud.call("POST", path, token="member", json={"application_credential": {"name": "c"}}).json["application_credential"]["id"]
    assert cloud.call("DELETE", f"{V3}/roles/{role}", token="admin").status == 204
    assert cloud.call("DELETE", f"{path}/{made}", token="member").status == 204
    assert all(events(cloud))


def test_a_role_that_was_renamed_is_named_by_its_id_once_its_name_is_back(cloud: TestCloud) -> None:
    role = cloud.call("POST", f"{V3}/roles", token="admin", json={"role": {"name": "r"}}).json["role"]["id"]
    for name in ("other", "r"):
        cloud.call("PATCH", f"{V3}/roles/{role}", token="admin", json={"role": {"name": name}})
    assert {"role_id": role} in events(cloud)


def test_events_are_for_services_and_admins(cloud: TestCloud) -> None:
    assert events(cloud, token=cloud.token("member", roles={"service"})) == []
    assert cloud.call("GET", f"{V3}/OS-REVOKE/events", token="manager").status == 403


def test_certificates_are_gone(cloud: TestCloud) -> None:
    for path in ("ca", "certificates"):
        assert cloud.call("GET", f"{V3}/OS-SIMPLE-CERT/{path}").status == 410
