"""Users of an identity provider log in by its access tokens, and are users here."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.api.harness import PASSWORD, TestCloud
from tests.api.identity.federation import AUTH, F, Federation
from tests.api.identity.openid_server import CLIENT, SECRET

NOBODYS = {"user": {"name": "{0}"}}
WHO = {"type": "OIDC-name"}


def test_a_login_makes_a_user_in_the_providers_domain_and_an_unscoped_token(federation: Federation) -> None:
    group = federation.group()
    made = federation.login()
    assert made.status == 201, made
    token = made.json["token"]
    assert token["methods"] == ["mapped", "openid"] and "roles" not in token and "catalog" not in token
    assert token["user"]["domain"]["id"] == federation.domain_id and token["user"]["name"] == "alice"
    assert token["user"]["OS-FEDERATION"] == {
        "groups": [{"id": group}], "identity_provider": {"id": "corp"}, "protocol": {"id": "openid"},
    }  # fmt: skip
    user = federation.user(made)
    assert user["federated"] == [{"idp_id": "corp", "protocols": [{"protocol_id": "openid", "unique_id": "alice"}]}]
    assert user["email"] == "alice@example.org" and user["password_expires_at"] is None
    again = federation.login()
    assert again.json["token"]["user"]["id"] == user["id"]
    assert federation.show(federation.token(), method="GET").status == 201


def test_the_token_reaches_what_its_groups_reach(federation: Federation) -> None:
    cloud = federation.cloud
    federation.group()
    text = federation.login().headers["x-subject-token"]
    for path in ("/identity/v3/auth/projects", f"{F}/projects"):
        assert [one["name"] for one in cloud.call("GET", path, token=text).json["projects"]] == ["demo"]
    assert cloud.call("GET", f"{F}/domains", token=text).json["domains"] == []
    scoped = federation.scoped(text, {"project": {"id": cloud.project_id()}})
    assert scoped.status == 201, scoped
    token = scoped.json["token"]
    assert {role["name"] for role in token["roles"]} >= {"member", "reader"} and token["methods"] == ["mapped", "openid", "token"]
    assert token["user"]["OS-FEDERATION"]["identity_provider"]["id"] == "corp"
    assert cloud.call("GET", "/compute/v2.1/servers", token=scoped.headers["x-subject-token"]).status == 200
    assert federation.scoped(text, {"project": {"id": cloud.project_id("other")}}).status == 401
    assert federation.scoped(text, {"system": {"all": True}}).status == 401
    shown = cloud.call("GET", "/identity/v3/auth/tokens", token="admin", headers={"x-subject-token": text})
    assert shown.json["token"]["user"]["OS-FEDERATION"] == token["user"]["OS-FEDERATION"]


def test_the_methods_mapped_and_openid_take_a_federated_token_or_the_providers(federation: Federation) -> None:
    cloud = federation.cloud
    federation.group()
    text = federation.login().headers["x-subject-token"]
    scope = {"project": {"id": cloud.project_id()}}

    def log_in(method: str, part: dict[str, Any], bearer: str = "") -> Any:
        body = {"auth": {"identity": {"methods": [method], method: part}, "scope": scope}}
        return cloud.call("POST", "/identity/v3/auth/tokens", json=body, headers={"Authorization": f"Bearer {bearer}"} if bearer else {})

    assert log_in("mapped", {"id": text}).status == 201
    assert log_in("openid", {"identity_provider": "corp", "protocol": "openid"}, federation.token()).status == 201
    assert log_in("mapped", {"identity_provider": "corp", "protocol": "openid"}).status == 401
    assert log_in("mapped", {"identity_provider": "corp"}).status == 400
    assert log_in("mapped", {"id": cloud.token("member")}).status == 401
    assert log_in("saml2", {}).status == 501


def test_nothing_that_the_mapping_gives_is_nobody(federation: Federation) -> None:
    assert federation.login(name="nobody").status == 401
    assert federation.login(name=None).status == 401
    federation.rules([{"local": [NOBODYS, {"group_ids": "{1}"}], "remote": [WHO, {"type": "OIDC-groups"}]}])
    assert federation.login(groups=["gone"]).status == 401
    federation.rules([{"local": [{"user": {"name": "{0}", "domain": {"id": "gone"}}}], "remote": [WHO]}])
    assert federation.login().status == 401
    federation.rules([{"local": [{"user": {"name": "{0}"}}], "remote": [WHO]}])
    assert federation.login(name=" ").status == 401
    assert federation.login(name="a" * 201).status == 401
    users = federation.cloud.call("GET", "/identity/v3/users?idp_id=corp", token="admin").json["users"]
    assert users == []


def test_a_local_user_of_the_same_name_is_another(federation: Federation) -> None:
    cloud = federation.cloud
    cloud.call("PUT", f"{F}/identity_providers/home", token="admin", json={"identity_provider": {"enabled": True, "domain_id": "default"}})
    cloud.call("PUT", f"{F}/identity_providers/home/protocols/openid", token="admin", json={"protocol": {"mapping_id": "m"}})
    whole = {"issuer": federation.server.issuer, "client_id": CLIENT, "client_secret": SECRET}
    cloud.call("PUT", f"{F}/identity_providers/home/protocols/openid/openid", token="admin", json={"openid": whole})
    federation.group()
    came = federation.show(federation.token(name="admin"), AUTH.replace("corp", "home"))
    assert came.status == 201, came
    user = came.json["token"]["user"]
    assert (user["name"], user["domain"]["id"]) == ("admin (home)", "default") and user["id"] != cloud.user_id("admin")
    assert federation.scoped(came.headers["x-subject-token"], {"project": {"id": cloud.project_id("admin")}}).status == 401
    again = federation.show(federation.token(name="admin"), AUTH.replace("corp", "home"))
    assert again.json["token"]["user"] == user
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": user["id"], "password": PASSWORD}}}}}
    assert cloud.call("POST", "/identity/v3/auth/tokens", json=body).status == 401


def test_an_id_of_the_provider_tells_users_of_one_name_apart_and_a_name_may_change(federation: Federation) -> None:
    federation.rules([{"local": [{"user": {"name": "{0}", "id": "{1}"}}], "remote": [WHO, {"type": "HTTP_OIDC_SUB"}]}])
    first, second = federation.login("u-1"), federation.login("u-2")
    assert first.json["token"]["user"]["id"] != second.json["token"]["user"]["id"]
    assert second.json["token"]["user"]["name"] == "alice (corp)"
    renamed = federation.login("u-1", "alicia")
    assert renamed.json["token"]["user"]["id"] == first.json["token"]["user"]["id"]
    assert federation.user(renamed)["name"] == "alicia"
    found = federation.cloud.call("GET", "/identity/v3/users?idp_id=corp&protocol_id=openid&unique_id=u-2", token="admin").json["users"]
    assert [one["id"] for one in found] == [second.json["token"]["user"]["id"]]
    assert federation.cloud.call("GET", "/identity/v3/users?unique_id=u-3", token="admin").json["users"] == []


def test_first_logins_at_the_same_time_make_one_user(federation: Federation) -> None:
    token = federation.token()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: federation.show(token), range(16)))
    assert {one.status for one in answers} == {201}
    assert len({one.json["token"]["user"]["id"] for one in answers}) == 1


def test_an_administrator_may_say_before_who_somebody_is(federation: Federation) -> None:
    cloud = federation.cloud
    who = [{"idp_id": "corp", "protocols": [{"protocol_id": "openid", "unique_id": "alice"}]}]
    made = cloud.call("POST", "/identity/v3/users", token="admin", json={"user": {"name": "known", "federated": who}})
    assert made.status == 201 and made.json["user"]["federated"] == who, made
    came = federation.login()
    assert (came.json["token"]["user"]["id"], came.json["token"]["user"]["name"]) == (made.json["user"]["id"], "known")
    taken = cloud.call("POST", "/identity/v3/users", token="admin", json={"user": {"name": "late", "federated": who}})
    assert taken.status == 409, taken
    assert cloud.call("GET", "/identity/v3/users?name=late", token="admin").json["users"] == []
    for wrong in ([{"idp_id": "gone", "protocols": []}], [{"idp_id": "corp", "protocols": [{"protocol_id": "x", "unique_id": "y"}]}]):
        refused = cloud.call("POST", "/identity/v3/users", token="admin", json={"user": {"name": "w", "federated": wrong}})
        assert refused.status == 400, refused
    place = f"/identity/v3/users/{made.json['user']['id']}"
    other = [{"idp_id": "corp", "protocols": [{"protocol_id": "openid", "unique_id": "bob"}]}]
    assert cloud.call("PATCH", place, token="admin", json={"user": {"federated": other}}).json["user"]["federated"] == other
    assert federation.login(name="bob").json["token"]["user"]["id"] == made.json["user"]["id"]
    assert federation.login().json["token"]["user"]["id"] != made.json["user"]["id"]


def test_a_manager_of_another_domain_can_not_claim_who_somebody_is(federation: Federation) -> None:
    """Who could would get what the provider's user is given here."""
    manager = federation.cloud.token("manager", domain_id="default", roles={"manager", "member", "reader"})
    who = [{"idp_id": "corp", "protocols": [{"protocol_id": "openid", "unique_id": "alice"}]}]
    body = {"user": {"name": "mine", "domain_id": "default"}}
    assert federation.cloud.call("POST", "/identity/v3/users", token=manager, json=body).status == 201
    body = {"user": {"name": "hers", "domain_id": "default", "federated": who}}
    assert federation.cloud.call("POST", "/identity/v3/users", token=manager, json=body).status == 403


def test_a_user_that_is_disabled_stays_out(federation: Federation) -> None:
    came = federation.login()
    place = f"/identity/v3/users/{came.json['token']['user']['id']}"
    assert federation.cloud.call("PATCH", place, token="admin", json={"user": {"enabled": False}}).status == 200
    assert federation.login(email="other@example.org").status == 401
    assert federation.user(came)["email"] == "alice@example.org"  # nothing is learnt of who may not come in
    assert federation.scoped(came.headers["x-subject-token"], "unscoped").status == 404
    assert federation.cloud.call("PATCH", place, token="admin", json={"user": {"enabled": True}}).status == 200
    assert federation.login().status == 201
    domain = f"/identity/v3/domains/{federation.domain_id}"
    assert federation.cloud.call("PATCH", domain, token="admin", json={"domain": {"enabled": False}}).status == 200
    assert federation.login().status == 401


def test_a_provider_that_is_disabled_or_gone_lets_nobody_in_and_its_tokens_are_void(federation: Federation) -> None:
    cloud = federation.cloud
    federation.group()
    text = federation.login().headers["x-subject-token"]
    scoped = federation.scoped(text, {"project": {"id": cloud.project_id()}}).headers["x-subject-token"]
    federation.patch("identity_providers/corp", identity_provider={"enabled": False})
    assert federation.login().status == 403
    assert cloud.call("GET", "/compute/v2.1/servers", token=scoped).status == 401
    federation.patch("identity_providers/corp", identity_provider={"enabled": True})
    text = federation.login().headers["x-subject-token"]
    assert cloud.call("DELETE", f"{F}/identity_providers/corp/protocols/openid", token="admin").status == 204
    assert federation.login().status == 404
    assert cloud.call("GET", "/identity/v3/auth/projects", token=text).status == 401
    assert cloud.call("GET", "/identity/v3/users?idp_id=corp", token="admin").json["users"] == []
    assert cloud.call("DELETE", f"{F}/identity_providers/corp", token="admin").status == 204
    assert federation.login().status == 404


def test_a_group_that_is_said_no_more_is_lost_with_the_tokens(federation: Federation) -> None:
    cloud = federation.cloud
    federation.group()
    scoped = federation.scoped(federation.login().headers["x-subject-token"], {"project": {"id": cloud.project_id()}})
    assert cloud.call("GET", "/compute/v2.1/servers", token=scoped.headers["x-subject-token"]).status == 200
    later = federation.login(groups=["others"])
    assert later.json["token"]["user"]["OS-FEDERATION"]["groups"] == []
    assert cloud.call("GET", "/compute/v2.1/servers", token=scoped.headers["x-subject-token"]).status == 401
    assert federation.scoped(later.headers["x-subject-token"], {"project": {"id": cloud.project_id()}}).status == 401


def test_a_role_that_a_group_loses_and_a_group_that_goes_are_lost_with_the_tokens(federation: Federation) -> None:
    cloud = federation.cloud
    scope = {"project": {"id": cloud.project_id()}}
    group = federation.group()

    def works(token: str) -> bool:
        return cloud.call("GET", "/compute/v2.1/servers", token=token).status == 200

    text = federation.scoped(federation.login().headers["x-subject-token"], scope).headers["x-subject-token"]
    where = f"/identity/v3/projects/{cloud.project_id()}/groups/{group}/roles/{federation.role('member')}"
    assert works(text) and cloud.call("DELETE", where, token="admin").status == 204 and not works(text)
    assert cloud.call("PUT", where, token="admin").status == 204
    text = federation.scoped(federation.login().headers["x-subject-token"], scope).headers["x-subject-token"]
    assert works(text) and cloud.call("DELETE", f"/identity/v3/groups/{group}", token="admin").status == 204 and not works(text)
    assert cloud.run(cloud.db.value("SELECT count(*) FROM expiring_memberships")) == 0


def test_a_group_counts_beyond_the_token_for_as_long_as_the_provider_lets_it(federation: Federation) -> None:
    """An application credential of a role that a group gives works for the identity provider's `authorization_ttl`."""
    cloud = federation.cloud
    group = federation.group()

    def credential() -> Any:
        login = federation.scoped(federation.login().headers["x-subject-token"], {"project": {"id": cloud.project_id()}})
        user = login.json["token"]["user"]["id"]
        body = {"application_credential": {"name": "c", "roles": [{"name": "member"}]}}
        path = f"/identity/v3/users/{user}/application_credentials"
        return user, cloud.call("POST", path, token=login.headers["x-subject-token"], json=body)

    assert credential()[1].status == 400  # without a time it is not the user's own
    federation.patch("identity_providers/corp", identity_provider={"authorization_ttl": 60})
    user, made = credential()
    assert made.status == 201, made
    [shown] = cloud.call("GET", f"/identity/v3/users/{user}/groups", token="admin").json["groups"]
    assert shown["id"] == group and shown["membership_expires_at"]
    given = {"id": made.json["application_credential"]["id"], "secret": made.json["application_credential"]["secret"]}
    body = {"auth": {"identity": {"methods": ["application_credential"], "application_credential": given}}}
    used = cloud.call("POST", "/identity/v3/auth/tokens", json=body)
    assert used.status == 201 and used.json["token"]["expires_at"] <= shown["membership_expires_at"]
    cloud.write(lambda tx: tx.execute("UPDATE expiring_memberships SET expires_at = 1"))
    assert cloud.call("POST", "/identity/v3/auth/tokens", json=body).status == 401
    assert cloud.call("GET", f"/identity/v3/users/{user}/groups", token="admin").json["groups"] == []


PROJECTS = [{"name": "of {0}", "roles": [{"name": "member"}]}, {"name": "shared", "roles": [{"name": "reader"}]}]


def test_projects_of_the_mapping_are_made_with_their_roles(federation: Federation) -> None:
    cloud = federation.cloud
    rules = [{"local": [NOBODYS, {"projects": PROJECTS}], "remote": [WHO]}]
    federation.rules(rules)
    text = federation.login().headers["x-subject-token"]
    federation.login("u-2", "bob")
    found = cloud.call("GET", "/identity/v3/auth/projects", token=text).json["projects"]
    assert [(one["name"], one["domain_id"]) for one in found] == [("of alice", federation.domain_id), ("shared", federation.domain_id)]
    scoped = federation.scoped(text, {"project": {"id": found[0]["id"]}})
    assert {role["name"] for role in scoped.json["token"]["roles"]} == {"member", "reader"}
    less = [{"local": [NOBODYS, {"projects": PROJECTS[1:]}], "remote": [WHO]}]
    for version, names in (("2.0", ["of alice", "shared"]), ("3.0", ["shared"])):
        federation.rules(less, version)
        text = federation.login().headers["x-subject-token"]
        found = cloud.call("GET", "/identity/v3/auth/projects", token=text).json["projects"]
        assert [one["name"] for one in found] == names
    assert cloud.call("GET", "/compute/v2.1/servers", token=scoped.headers["x-subject-token"]).status == 401


def test_a_role_that_is_not_there_makes_nothing(federation: Federation) -> None:
    federation.rules([{"local": [NOBODYS, {"projects": [{"name": "p", "roles": [{"name": "gone"}]}]}], "remote": [WHO]}])
    assert federation.login().status == 404
    assert federation.cloud.call("GET", "/identity/v3/projects?name=p", token="admin").json["projects"] == []
    assert federation.cloud.call("GET", "/identity/v3/users?idp_id=corp", token="admin").json["users"] == []


def test_a_mapping_may_mean_a_local_user(federation: Federation) -> None:
    cloud = federation.cloud
    federation.rules([{"local": [{"user": {"name": "{0}", "type": "local", "domain": {"id": "default"}}}], "remote": [WHO]}])
    came = federation.login(name="member")
    assert came.json["token"]["user"]["id"] == cloud.user_id("member") and "OS-FEDERATION" not in came.json["token"]["user"]
    assert came.json["token"]["methods"] == ["mapped"]
    assert federation.login(name="gone").status == 401
    federation.rules([{"local": [{"user": {"name": "{0}", "type": "local"}}], "remote": [WHO]}])
    assert federation.login(name="member").status == 401


def test_nobody_is_made_in_a_domain_whose_users_are_a_directorys(federation: Federation) -> None:
    place = f"/identity/v3/domains/{federation.domain_id}/config"
    options = {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://127.0.0.1:1"}}
    assert federation.cloud.call("PUT", place, token="admin", json={"config": options}).status == 201
    refused = federation.login()
    assert refused.status == 401 and "directory" in refused.body.decode(), refused
    federation.rules([{"local": [{"user": {"name": "{0}", "domain": {"id": "default"}}}], "remote": [WHO]}])
    assert federation.login().json["token"]["user"]["domain"]["id"] == "default"


def test_the_provider_must_be_one_of_those_that_are_accepted(federation: Federation) -> None:
    federation.patch("identity_providers/corp/protocols/openid", protocol={"mapping_id": "m", "remote_id_attribute": "HTTP_OIDC_ISS"})
    assert federation.login().status == 201
    federation.patch("identity_providers/corp", identity_provider={"remote_ids": ["https://other.example"]})
    assert federation.login().status == 403
    federation.patch("identity_providers/corp/protocols/openid", protocol={"mapping_id": "m", "remote_id_attribute": "OIDC-gone"})
    assert federation.login().status == 401


def test_a_protocol_may_have_any_name(federation: Federation) -> None:
    federation.put("identity_providers/corp/protocols/keycloak", protocol={"mapping_id": "m"})
    path = AUTH.replace("/openid/", "/keycloak/")
    assert federation.show(federation.token(), path).status == 401  # how it is asked is not said yet
    federation.settings("keycloak")
    came = federation.show(federation.token(), path)
    assert came.json["token"]["methods"] == ["keycloak", "mapped"]
    assert federation.login().json["token"]["user"]["id"] != came.json["token"]["user"]["id"]  # by another protocol it is another


def test_a_login_needs_the_methods_that_the_users_rules_want(federation: Federation) -> None:
    came = federation.login()
    place = f"/identity/v3/users/{came.json['token']['user']['id']}"
    options = {"multi_factor_auth_enabled": True, "multi_factor_auth_rules": [["mapped", "totp"]]}
    assert federation.cloud.call("PATCH", place, token="admin", json={"user": {"options": options}}).status == 200
    refused = federation.login()
    assert refused.status == 401 and refused.json["required_auth_methods"] == [["mapped", "totp"]]


def test_settings_are_shown_without_their_secret(federation: Federation, cloud: TestCloud) -> None:
    path = f"{F}/identity_providers/corp/protocols/openid/openid"
    shown = cloud.call("GET", path, token="admin")
    assert shown.json["openid"]["has_client_secret"] and SECRET not in shown.body.decode()
    assert shown.json["openid"]["redirect_uri"] == (
        "http://cloud.test/identity/v3/auth/OS-FEDERATION/identity_providers/corp/protocols/openid/callback"
    )
    held = cloud.run(cloud.db.all("SELECT sealed_secret FROM openid_settings"))
    assert SECRET not in held[0][0]
    kept = cloud.call("PUT", path, token="admin", json={"openid": {"issuer": federation.server.issuer, "client_id": CLIENT}})
    assert kept.status == 200 and kept.json["openid"]["has_client_secret"]
    whole = {"issuer": federation.server.issuer, "client_id": CLIENT}
    for wrong in ({"issuer": "http://idp.example"}, {"issuer": "ftp://x"}, {"issuer": "https://u@x"}, {"algorithms": ["HS256"]},
                  {"algorithms": ["none"]}, {"authorities": "x"}, {"colour": "red"}, {"client_id": ""}):  # fmt: skip
        assert cloud.call("PUT", path, token="admin", json={"openid": {**whole, **wrong}}).status == 400, wrong
    gone = cloud.call("PUT", path, token="admin", json={"openid": {**whole, "client_secret": None}})
    assert not gone.json["openid"]["has_client_secret"]
    assert cloud.call("DELETE", path, token="admin").status == 204
    assert cloud.call("GET", path, token="admin").status == 404
    assert federation.login().status == 401
