"""What federation keeps: identity providers with protocols, mappings, service providers."""

from typing import Any

import pytest

from tests.api.harness import PASSWORD, Answer, TestCloud

F = "/identity/v3/OS-FEDERATION"
RULES = [{"local": [{"user": {"name": "{0}"}}, {"group_ids": "{1}"}], "remote": [{"type": "user"}, {"type": "groups", "whitelist": ["a"]}]}]


def put(cloud: TestCloud, path: str, key: str, **attributes: Any) -> Answer:
    return cloud.call("PUT", f"{F}/{path}", token="admin", json={key: attributes})


def patch(cloud: TestCloud, path: str, key: str, **attributes: Any) -> Answer:
    return cloud.call("PATCH", f"{F}/{path}", token="admin", json={key: attributes})


def idp(cloud: TestCloud, name: str = "one", **attributes: Any) -> Answer:
    return put(cloud, f"identity_providers/{name}", "identity_provider", **attributes)


def mapping(cloud: TestCloud, name: str = "m", rules: Any = None, **attributes: Any) -> Answer:
    return put(cloud, f"mappings/{name}", "mapping", rules=RULES if rules is None else rules, **attributes)


def test_an_identity_provider_lives_its_life(cloud: TestCloud) -> None:
    made = idp(cloud, description="first", remote_ids=["b", "a"], authorization_ttl=5)
    assert made.status == 201, made
    one = made.json["identity_provider"]
    assert (one["id"], one["enabled"], one["remote_ids"], one["authorization_ttl"]) == ("one", False, ["a", "b"], 5)
    assert one["links"]["protocols"].endswith("/identity_providers/one/protocols")
    home = cloud.call("GET", f"/identity/v3/domains/{one['domain_id']}", token="admin").json["domain"]
    assert home["enabled"] and home["name"] == home["id"]
    place = f"{F}/identity_providers/one"
    assert cloud.call("GET", place, token="admin").json["identity_provider"] == one
    assert cloud.call("GET", f"{F}/identity_providers?enabled=false", token="admin").json["identity_providers"] == [one]
    assert cloud.call("GET", f"{F}/identity_providers?id=two", token="admin").json["identity_providers"] == []
    changed = patch(cloud, "identity_providers/one", "identity_provider", enabled=True, remote_ids=[])
    assert changed.json["identity_provider"] == {**one, "enabled": True, "remote_ids": []}
    assert cloud.call("DELETE", place, token="admin").status == 204
    assert cloud.call("GET", place, token="admin").status == 404
    assert cloud.call("GET", f"/identity/v3/domains/{one['domain_id']}", token="admin").status == 200


def test_an_identity_provider_and_its_remote_ids_are_there_once(cloud: TestCloud) -> None:
    assert idp(cloud, remote_ids=["a"], domain_id="default").json["identity_provider"]["domain_id"] == "default"
    assert idp(cloud).status == 409
    assert idp(cloud, "two", remote_ids=["a"]).status == 409
    assert idp(cloud, "two", remote_ids=["b", "b"]).status == 400
    assert idp(cloud, "two", domain_id="gone").status == 404
    assert idp(cloud, "two", colour="red").status == 400
    assert idp(cloud, "x" * 65).status == 400
    assert idp(cloud, "two").status == 201
    assert patch(cloud, "identity_providers/two", "identity_provider", remote_ids=["a"]).status == 409
    assert patch(cloud, "identity_providers/two", "identity_provider", domain_id="default").status == 400


def test_an_identity_provider_goes_with_its_domain(cloud: TestCloud) -> None:
    home = idp(cloud).json["identity_provider"]["domain_id"]
    mapping(cloud)
    put(cloud, "identity_providers/one/protocols/openid", "protocol", mapping_id="m")
    place = f"/identity/v3/domains/{home}"
    cloud.call("PATCH", place, token="admin", json={"domain": {"enabled": False}})
    assert cloud.call("DELETE", place, token="admin").status == 204
    assert cloud.call("GET", f"{F}/identity_providers/one", token="admin").status == 404
    assert cloud.run(cloud.db.value("SELECT count(*) FROM federation_protocols")) == 0


def test_a_protocol_ties_an_identity_provider_to_a_mapping(cloud: TestCloud) -> None:
    idp(cloud), mapping(cloud), mapping(cloud, "n")
    path = "identity_providers/one/protocols/openid"
    assert put(cloud, path, "protocol", mapping_id="gone").status == 400
    assert put(cloud, "identity_providers/gone/protocols/openid", "protocol", mapping_id="m").status == 404
    made = put(cloud, path, "protocol", mapping_id="m", remote_id_attribute="iss")
    assert made.status == 201, made
    one = made.json["protocol"]
    assert (one["id"], one["mapping_id"]) == ("openid", "m") and one["links"]["identity_provider"].endswith("/identity_providers/one")
    assert put(cloud, path, "protocol", mapping_id="m").status == 409
    [listed] = cloud.call("GET", f"{F}/identity_providers/one/protocols", token="admin").json["protocols"]
    assert listed == {**one, "idp_id": "one", "remote_id_attribute": "iss"}
    assert patch(cloud, path, "protocol", mapping_id="gone").status == 400
    assert patch(cloud, path, "protocol", mapping_id="n").json["protocol"]["mapping_id"] == "n"
    assert cloud.call("DELETE", f"{F}/{path}", token="admin").status == 204
    assert cloud.call("GET", f"{F}/{path}", token="admin").status == 404


def test_a_mapping_lives_its_life(cloud: TestCloud) -> None:
    made = mapping(cloud)
    assert made.status == 201, made
    one = made.json["mapping"]
    assert (one["id"], one["rules"], one["schema_version"]) == ("m", RULES, "1.0")
    assert cloud.call("GET", f"{F}/mappings/m", token="admin").json["mapping"] == one
    assert cloud.call("GET", f"{F}/mappings", token="admin").json["mappings"] == [one]
    assert mapping(cloud).status == 409
    other = [{"local": [{"group": {"id": "0cd5e9"}}], "remote": [{"type": "x", "any_one_of": ["a"], "regex": True}]}]
    assert patch(cloud, "mappings/m", "mapping", rules=other, schema_version="2.0").json["mapping"]["rules"] == other
    assert cloud.call("DELETE", f"{F}/mappings/m", token="admin").status == 204
    assert cloud.call("DELETE", f"{F}/mappings/m", token="admin").status == 404


REMOTE = [{"type": "x"}]
PROJECTS = [{"name": "p", "roles": [{"name": "member"}], "domain": {"name": "d"}}]


@pytest.mark.parametrize(
    "rules",
    [
        [],
        "x",
        [{"local": []}],
        [{"local": [], "remote": []}],
        [{"local": [{"colour": "red"}], "remote": REMOTE}],
        [{"local": [{"group": {"name": "g"}}], "remote": REMOTE}],
        [{"local": [{"group": {"id": "g", "name": "g", "domain": {}}}], "remote": REMOTE}],
        [{"local": [], "remote": [{"type": "x", "whitelist": ["a"], "blacklist": ["b"]}]}],
        [{"local": [], "remote": [{"type": "x", "regex": True}]}],
        [{"local": [{"projects": PROJECTS}], "remote": REMOTE}],
        [{"local": [{"user": {"type": "strange"}}], "remote": REMOTE}],
    ],
)
def test_what_is_no_mapping_is_refused(rules: Any, cloud: TestCloud) -> None:
    assert mapping(cloud, rules=rules).status == 400


def test_what_a_mapping_may_say_depends_on_its_version(cloud: TestCloud) -> None:
    rules = [{"local": [{"projects": PROJECTS}], "remote": REMOTE}]
    assert mapping(cloud, rules=rules, schema_version="2.0").status == 201
    rules = [{"local": [{"projects_json": "{0}"}], "remote": REMOTE}]
    assert mapping(cloud, "n", rules=rules, schema_version="2.0").status == 400
    assert mapping(cloud, "n", rules=rules, schema_version="3.0").status == 201
    assert mapping(cloud, "o", schema_version="9").status == 400


def sp(cloud: TestCloud, name: str = "sp", **attributes: Any) -> Answer:
    given = {"auth_url": "https://other.test/v3/auth", "sp_url": "https://other.test/saml", **attributes}
    return put(cloud, f"service_providers/{name}", "service_provider", **given)


def test_a_service_provider_lives_its_life(cloud: TestCloud) -> None:
    made = sp(cloud)
    assert made.status == 201, made
    one = made.json["service_provider"]
    assert (one["enabled"], one["relay_state_prefix"], one["description"]) == (False, "ss:mem:", None)
    assert sp(cloud).status == 409
    assert put(cloud, "service_providers/x", "service_provider", auth_url="https://x").status == 400
    assert sp(cloud, "x", auth_url="not an address").status == 400
    assert patch(cloud, "service_providers/sp", "service_provider", colour="red").status == 400
    assert cloud.call("GET", f"{F}/service_providers/sp", token="admin").json["service_provider"] == one
    assert patch(cloud, "service_providers/sp", "service_provider", enabled=True).json["service_provider"]["enabled"] is True
    assert len(cloud.call("GET", f"{F}/service_providers?enabled=true", token="admin").json["service_providers"]) == 1
    assert cloud.call("DELETE", f"{F}/service_providers/sp", token="admin").status == 204


def test_a_token_tells_where_its_user_may_go(cloud: TestCloud) -> None:
    sp(cloud, "off"), sp(cloud, "on", enabled=True)
    identity = {"methods": ["password"], "password": {"user": {"id": cloud.user_id("member"), "password": PASSWORD}}}
    token = cloud.call("POST", "/identity/v3/auth/tokens", json={"auth": {"identity": identity}}).json["token"]
    assert token["service_providers"] == [{"id": "on", "auth_url": "https://other.test/v3/auth", "sp_url": "https://other.test/saml"}]
