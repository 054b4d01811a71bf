"""Configuration of single domains."""

from typing import Any

import pytest

from tests.api.harness import Answer, TestCloud

V3 = "/identity/v3"
LDAP = {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://one.test", "user_tree_dn": "ou=Users"}}


@pytest.fixture
def domain(cloud: TestCloud) -> str:
    """The path of a domain's configuration."""
    made = cloud.call("POST", f"{V3}/domains", token="admin", json={"domain": {"name": "d"}}).json["domain"]["id"]
    return f"{V3}/domains/{made}/config"


def put(cloud: TestCloud, place: str, config: Any = LDAP) -> Answer:
    return cloud.call("PUT", place, token="admin", json={"config": config})


def patch(cloud: TestCloud, place: str, config: Any) -> Answer:
    return cloud.call("PATCH", place, token="admin", json={"config": config})


def get(cloud: TestCloud, place: str) -> Any:
    answer = cloud.call("GET", place, token="admin")
    return answer.json["config"] if answer.status == 200 else answer.status


def test_a_domains_options_are_kept_and_shown_whole_or_in_part(cloud: TestCloud, domain: str) -> None:
    assert get(cloud, domain) == 404
    made = put(cloud, domain)
    assert (made.status, made.json) == (201, {"config": LDAP})
    assert get(cloud, domain) == LDAP
    assert get(cloud, f"{domain}/ldap") == {"ldap": LDAP["ldap"]}
    assert get(cloud, f"{domain}/ldap/url") == {"url": "ldap://one.test"}
    assert get(cloud, f"{domain}/ldap/suffix") == 404
    assert put(cloud, domain, {"identity": {"list_limit": 5}}).status == 200
    assert get(cloud, domain) == {"identity": {"list_limit": 5}}
    assert get(cloud, f"{domain}/ldap") == 404


def test_an_update_changes_what_it_names(cloud: TestCloud, domain: str) -> None:
    put(cloud, domain)
    assert patch(cloud, domain, {"ldap": {"suffix": "dc=x"}}).json["config"] == {**LDAP, "ldap": {**LDAP["ldap"], "suffix": "dc=x"}}
    assert patch(cloud, f"{domain}/identity", {"identity": {"driver": "sql", "list_limit": 3}}).status == 200
    assert get(cloud, f"{domain}/identity") == {"identity": {"driver": "sql", "list_limit": 3}}
    assert patch(cloud, f"{domain}/ldap/url", {"url": "ldap://two.test"}).json["config"]["ldap"]["url"] == "ldap://two.test"
    assert patch(cloud, f"{domain}/ldap/page_size", {"page_size": 5}).status == 404
    assert patch(cloud, f"{domain}/ldap/url", {"suffix": "dc=y"}).status == 403
    assert patch(cloud, f"{domain}/ldap", {"identity": {"driver": "ldap"}}).status == 403
    assert patch(cloud, f"{domain}/ldap", LDAP).status == 403


def test_what_no_domain_can_have_is_refused(cloud: TestCloud, domain: str) -> None:
    for config in ({}, {"ldap": {}}, {"ldap": "x"}, {"token": {"provider": "x"}}, {"ldap": {"colour": "red"}}):
        assert put(cloud, domain, config).status == 403, config
    assert get(cloud, f"{domain}/token") == 403
    assert get(cloud, f"{domain}/ldap/colour") == 403
    assert put(cloud, f"{V3}/domains/gone/config").status == 404


def test_a_secret_is_kept_but_never_shown(cloud: TestCloud, domain: str) -> None:
    secret = "a password that nobody sees"
    answers = [
        put(cloud, domain, {"ldap": {"url": "ldap://x", "password": secret}}),
        patch(cloud, domain, {"ldap": {"password": secret}}),
        patch(cloud, f"{domain}/ldap/password", {"password": secret}),
        cloud.call("GET", domain, token="admin"),
        cloud.call("GET", f"{domain}/ldap", token="admin"),
    ]
    assert all(answer.status in (200, 201) and secret not in repr(answer) and "password" not in repr(answer) for answer in answers)
    assert get(cloud, f"{domain}/ldap/password") == 404
    assert get(cloud, f"{V3}/domains/config/ldap/password/default") == 403
    kept = cloud.run(cloud.db.value("SELECT value FROM domain_options WHERE option = 'password'"))
    assert kept and secret not in kept
    assert cloud.call("DELETE", f"{domain}/ldap/password", token="admin").status == 204
    assert patch(cloud, f"{domain}/ldap/password", {"password": secret}).status == 404


def test_options_are_removed_whole_or_in_part(cloud: TestCloud, domain: str) -> None:
    put(cloud, domain)
    assert cloud.call("DELETE", f"{domain}/ldap/url", token="admin").status == 204
    assert cloud.call("DELETE", f"{domain}/ldap/url", token="admin").status == 404
    assert cloud.call("DELETE", f"{domain}/identity", token="admin").status == 204
    assert get(cloud, domain) == {"ldap": {"user_tree_dn": "ou=Users"}}
    assert cloud.call("DELETE", domain, token="admin").status == 204
    assert get(cloud, domain) == 404


def test_a_domain_goes_with_its_options(cloud: TestCloud, domain: str) -> None:
    put(cloud, domain)
    place = domain.removesuffix("/config")
    cloud.call("PATCH", place, token="admin", json={"domain": {"enabled": False}})
    assert cloud.call("DELETE", place, token="admin").status == 204
    assert cloud.run(cloud.db.value("SELECT count(*) FROM domain_options")) == 0


def test_the_defaults_are_shown_whole_or_in_part(cloud: TestCloud) -> None:
    whole = get(cloud, f"{V3}/domains/config/default")
    assert set(whole) == {"identity", "ldap"} and "password" not in whole["ldap"]
    assert get(cloud, f"{V3}/domains/config/identity/default") == {"identity": whole["identity"]}
    assert get(cloud, f"{V3}/domains/config/identity/driver/default") == {"driver": "sql"}
    assert get(cloud, f"{V3}/domains/config/token/default") == 403


def test_whoever_has_a_token_reads_what_a_password_must_look_like() -> None:
    cloud = TestCloud(password_regex="^.{10,}$", password_regex_description="ten characters")
    try:
        place = f"{V3}/domains/default/config/security_compliance"
        rules = {"password_regex": "^.{10,}$", "password_regex_description": "ten characters"}
        assert cloud.call("GET", place, token="reader").json == {"config": {"security_compliance": rules}}
        assert cloud.call("GET", f"{place}/password_regex", token="reader").json == {"config": {"password_regex": "^.{10,}$"}}
        assert cloud.call("GET", f"{place}/lockout_duration", token="reader").status == 403
        assert cloud.call("GET", f"{V3}/domains/default/config/ldap", token="reader").status == 403
    finally:
        cloud.close()
