"""What voids a token: everything that takes from its owner what it says."""

from collections.abc import Callable

import pytest

from tests.api.harness import PASSWORD, TestCloud

V3 = "/identity/v3"


def remove_role(cloud: TestCloud) -> None:
    role = cloud.call("GET", f"{V3}/roles?name=member", token="admin").json["roles"][0]["id"]
    path = f"{V3}/projects/{cloud.project_id()}/users/{cloud.user_id('member')}/roles/{role}"
    assert cloud.call("DELETE", path, token="admin").status == 204


def disable_user(cloud: TestCloud) -> None:
    assert cloud.call("PATCH", f"{V3}/users/{cloud.user_id('member')}", token="admin", json={"user": {"enabled": False}}).status == 200


def delete_user(cloud: TestCloud) -> None:
    assert cloud.call("DELETE", f"{V3}/users/{cloud.user_id('member')}", token="admin").status == 204


def disable_project(cloud: TestCloud) -> None:
    path = f"{V3}/projects/{cloud.project_id()}"
    assert cloud.call("PATCH", path, token=cloud.token("admin"), json={"project": {"enabled": False}}).status == 200


def delete_project(cloud: TestCloud) -> None:
    assert cloud.call("DELETE", f"{V3}/projects/{cloud.project_id()}", token=cloud.token("admin")).status == 204


def set_password(cloud: TestCloud) -> None:
    assert cloud.call("PATCH", f"{V3}/users/{cloud.user_id('member')}", token="admin", json={"user": {"password": "x"}}).status == 200


def change_password(cloud: TestCloud) -> None:
    body = {"user": {"original_password": PASSWORD, "password": "another"}}
    assert cloud.call("POST", f"{V3}/users/{cloud.user_id('member')}/password", json=body).status == 204


def delete_role(cloud: TestCloud) -> None:
    role = cloud.call("GET", f"{V3}/roles?name=member", token="admin").json["roles"][0]["id"]
    assert cloud.call("DELETE", f"{V3}/roles/{role}", token="admin").status == 204


def stop_implying(cloud: TestCloud) -> None:
    roles = {role["name"]: role["id"] for role in cloud.call("GET", f"{V3}/roles", token="admin").json["roles"]}
    assert cloud.call("DELETE", f"{V3}/roles/{roles['member']}/implies/{roles['reader']}", token="admin").status == 204


CAUSES = [
    remove_role, disable_user, delete_user, disable_project, delete_project, set_password, change_password, delete_role, stop_implying,
]  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
def test_a_token_is_void_after(cause: Callable[[TestCloud], None], cloud: TestCloud) -> None:
    token = cloud.token("member")
    assert cloud.call("GET", f"{V3}/auth/projects", token=token).status == 200
    cause(cloud)
    assert cloud.call("GET", f"{V3}/auth/projects", token=token).status == 401


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
def test_an_application_credentials_token_is_void_after(cause: Callable[[TestCloud], None], cloud: TestCloud) -> None:
    path = f"{V3}/users/{cloud.user_id('member')}/application_credentials"
    made = cloud.call("POST", path, token="member", json={"application_credential": {"name": "robot"}}).json["application_credential"]
    method = {"methods": ["application_credential"], "application_credential": {"id": made["id"], "secret": made["secret"]}}
    token = cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": method}}).headers["x-subject-token"]
    assert cloud.call("GET", f"{V3}/auth/projects", token=token).status == 200
    cause(cloud)
    assert cloud.call("GET", f"{V3}/auth/projects", token=token).status == 401


def test_a_disabled_domain_keeps_its_people_out(cloud: TestCloud) -> None:
    made = cloud.call("POST", f"{V3}/domains", token="admin", json={"domain": {"name": "d"}}).json["domain"]["id"]
    user = {"name": "u", "domain_id": made, "password": "p"}
    user_id = cloud.call("POST", f"{V3}/users", token="admin", json={"user": user}).json["user"]["id"]
    method = {"methods": ["password"], "password": {"user": {"id": user_id, "password": "p"}}}
    login = {"auth": {"identity": method}}
    token = cloud.call("POST", f"{V3}/auth/tokens", json=login).headers["x-subject-token"]
    assert cloud.call("PATCH", f"{V3}/domains/{made}", token="admin", json={"domain": {"enabled": False}}).status == 200
    assert cloud.call("GET", f"{V3}/auth/projects", token=token).status == 401
    assert cloud.call("POST", f"{V3}/auth/tokens", json=login).status == 401


def test_who_was_revoked_can_log_in_again_at_once(cloud: TestCloud) -> None:
    set_password(cloud)
    method = {"methods": ["password"], "password": {"user": {"id": cloud.user_id("member"), "password": "x"}}}
    token = cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": method}}).headers["x-subject-token"]
    assert cloud.call("GET", f"{V3}/auth/projects", token=token).status == 200


def test_revocations_outlive_the_process(cloud: TestCloud) -> None:
    from pileus.api.identity.tokens import FernetTokens
    from pileus.model.errors import Unauthorized

    token = cloud.token("member")
    disable_user(cloud)
    again = FernetTokens(cloud.directory / "secrets" / "token-keys", cloud.db)
    cloud.run(again.load())
    with pytest.raises(Unauthorized):
        again.validate(token)


def test_rotated_keys_let_tokens_live_one_rotation_long(cloud: TestCloud) -> None:
    token = cloud.token("member")
    cloud.tokens.rotate()
    assert cloud.call("GET", f"{V3}/auth/projects", token=token).status == 200
    keys = cloud.directory / "secrets" / "token-keys"
    assert keys.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in keys.iterdir()} == {0o600}
    assert sorted(path.name for path in keys.iterdir()) == ["0", "1", "2"]


def test_a_user_voids_all_its_own_tokens_and_an_admin_anybodys(cloud: TestCloud) -> None:
    place = f"{V3}/users/{cloud.user_id('member')}/tokens"
    first, second = cloud.token("member"), cloud.token("member")
    assert cloud.call("DELETE", place, token="reader").status == 403
    assert cloud.call("DELETE", place, token=first).status == 204
    for text in (first, second):
        assert cloud.call("GET", f"{V3}/auth/projects", token=text).status == 401
    third = cloud.token("member")
    assert cloud.call("DELETE", place, token="admin").status == 204
    assert cloud.call("GET", f"{V3}/auth/projects", token=third).status == 401
    assert cloud.call("DELETE", f"{V3}/users/gone/tokens", token="admin").status == 404
