"""Nobody gets more than was given: managers of a domain, application credentials, trusts, tokens of who was shut out meanwhile."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from pileus.api.identity import passwords
from pileus.model.assignments import SYSTEM_ALL, Actor, Assignment, Target
from pileus.model.groups import Group
from pileus.store.assignments import grant
from pileus.store.database import Transaction
from pileus.store.groups import GROUPS, add_member
from pileus.store.roles import role_named
from tests.api.harness import PASSWORD, TestCloud

V3 = "/identity/v3"
MANAGER = {"manager", "member", "reader"}


def manager(cloud: TestCloud) -> str:
    """A token of a manager of the default domain, in which the cloud's administrators are too."""
    return cloud.token("manager", domain_id="default", roles=MANAGER)


def group_with(cloud: TestCloud, role: str, target: Target) -> str:
    """A group of the default domain that has a role."""
    key = uuid.uuid4().hex

    async def work(tx: Transaction) -> None:
        now = time.time()
        await GROUPS.insert(tx, Group(id=key, created_at=now, updated_at=now, name=key, domain_id="default", description=""))
        found = await role_named(tx, role)
        assert found
        place = {Target.SYSTEM: SYSTEM_ALL, Target.PROJECT: cloud_project, Target.DOMAIN: "default"}[target]
        await grant(tx, Assignment(actor=Actor.GROUP, actor_id=key, target=target, target_id=place, role_id=found.id))

    cloud_project = cloud.project_id()
    cloud.write(work)
    return key


def test_a_manager_of_a_domain_does_not_become_its_administrator(cloud: TestCloud) -> None:
    admin, token = f"{V3}/users/{cloud.user_id('admin')}", manager(cloud)
    for body in ({"password": "mine"}, {"enabled": False}, {"name": "x"}, {"options": {"lock_password": True}}):
        assert cloud.call("PATCH", admin, token, {"user": body}).status == 403, body
    assert cloud.call("DELETE", admin, token).status == 403
    assert cloud.call("PATCH", f"{V3}/users/{cloud.user_id('reader')}", token, {"user": {"description": "x"}}).status == 200


@pytest.mark.parametrize(
    ("role", "target"),
    [("admin", Target.PROJECT), ("admin", Target.DOMAIN), ("service", Target.PROJECT), ("reader", Target.SYSTEM)],
)
def test_a_manager_of_a_domain_joins_no_group_that_has_more(role: str, target: Target, cloud: TestCloud) -> None:
    group, token, own = group_with(cloud, role, target), manager(cloud), cloud.user_id("manager")
    assert cloud.call("PUT", f"{V3}/groups/{group}/users/{own}", token).status == 403
    assert cloud.call("DELETE", f"{V3}/groups/{group}", token).status == 403
    member = cloud.user_id("member")
    cloud.write(lambda tx: add_member(tx, group, member))
    assert cloud.call("PATCH", f"{V3}/users/{member}", token, {"user": {"password": "mine"}}).status == 403
    plain = group_with(cloud, "member", Target.PROJECT)
    assert cloud.call("PUT", f"{V3}/groups/{plain}/users/{own}", token).status == 204


@pytest.mark.parametrize("role", ["admin", "service"])
def test_a_manager_of_a_domain_hands_out_no_more_than_it_may(role: str, cloud: TestCloud) -> None:
    token, own = manager(cloud), cloud.user_id("manager")
    roles = {one["name"]: one["id"] for one in cloud.call("GET", f"{V3}/roles", "admin").json["roles"]}
    for place in (f"projects/{cloud.project_id()}", "domains/default", "system"):
        tail = f"users/{own}/roles/{roles[role]}"
        assert cloud.call("PUT", f"{V3}/{place}/{tail}", token).status == 403, place
        if place != "system":
            assert cloud.call("PUT", f"{V3}/OS-INHERIT/{place}/{tail}/inherited_to_projects", token).status == 403, place
    for method, path, body in (
        ("PUT", f"roles/{roles['member']}/implies/{roles[role]}", None),
        ("PATCH", f"roles/{roles['manager']}", {"role": {"name": "x"}}),
        ("POST", "roles", {"role": {"name": "x"}}),
        ("POST", "domains", {"domain": {"name": "x"}}),
        ("PATCH", "domains/default", {"domain": {"name": "x"}}),
    ):
        assert cloud.call(method, f"{V3}/{path}", token, body).status == 403, path


def test_a_manager_of_a_domain_sees_and_changes_no_other_domain(cloud: TestCloud) -> None:
    other = cloud.call("POST", f"{V3}/domains", "admin", {"domain": {"name": "elsewhere"}}).json["domain"]["id"]
    user = cloud.call("POST", f"{V3}/users", "admin", {"user": {"name": "u", "domain_id": other}}).json["user"]["id"]
    project = cloud.call("POST", f"{V3}/projects", "admin", {"project": {"name": "p", "domain_id": other}}).json["project"]["id"]
    token = manager(cloud)
    for method, path, body in (
        ("GET", f"users/{user}", None), ("PATCH", f"users/{user}", {"user": {"password": "x"}}), ("DELETE", f"users/{user}", None),
        ("GET", f"projects/{project}", None), ("DELETE", f"projects/{project}", None), ("GET", f"domains/{other}", None),
        ("POST", "users", {"user": {"name": "v", "domain_id": other}}),
        ("POST", "projects", {"project": {"name": "q", "domain_id": other}}),
        ("POST", "projects", {"project": {"name": "q", "parent_id": project}}), ("GET", f"roles?domain_id={other}", None),
        ("POST", "groups", {"group": {"name": "g", "domain_id": other}}),
    ):  # fmt: skip
        assert cloud.call(method, f"{V3}/{path}", token, body).status == 403, f"{method} {path}"
    for kind in ("users", "projects", "groups", "domains"):
        assert all(one.get("domain_id", one["id"]) != other for one in cloud.call("GET", f"{V3}/{kind}", token).json[kind])
        assert cloud.call("GET", f"{V3}/{kind}?domain_id={other}", token).json[kind] == [] or kind == "domains"


def log_in(cloud: TestCloud, user: str, password: str = PASSWORD) -> Any:
    """The answer to a login on project demo."""
    who = {"methods": ["password"], "password": {"user": {"name": user, "domain": {"id": "default"}, "password": password}}}
    scope = {"project": {"name": "demo", "domain": {"id": "default"}}}
    return cloud.call("POST", f"{V3}/auth/tokens", None, {"auth": {"identity": who, "scope": scope}})


@pytest.mark.parametrize("change", [{"enabled": False}, {"password": "another one"}])
def test_a_login_that_waits_while_the_user_is_shut_out_fails(
    change: dict[str, Any], cloud: TestCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, verify = cloud.user_id("member"), passwords.verify
    admin = cloud.token("admin")

    async def slowly(hashed: str | None, password: str) -> bool:
        right = await verify(hashed, password)
        path = f"{V3}/users/{member}"
        loop = asyncio.get_running_loop()
        assert (await loop.run_in_executor(None, _elsewhere(cloud, path, admin, change))).status == 200
        return right

    monkeypatch.setattr(passwords, "verify", slowly)
    assert log_in(cloud, "member").status == 401


def _elsewhere(cloud: TestCloud, path: str, token: str, change: dict[str, Any]) -> Callable[[], Any]:
    return lambda: cloud.call("PATCH", path, token, {"user": change})


@pytest.mark.parametrize("what", ["user", "project", "role"])
def test_a_token_is_void_when_what_it_stands_on_is_taken_away_and_can_not_be_exchanged_before(what: str, cloud: TestCloud) -> None:
    token = log_in(cloud, "member").headers["x-subject-token"]
    assert cloud.call("GET", "/network/v2.0/networks", token).status == 200
    member, demo = cloud.user_id("member"), cloud.project_id()
    role = next(one["id"] for one in cloud.call("GET", f"{V3}/roles", "admin").json["roles"] if one["name"] == "member")
    method, path, body = {
        "user": ("PATCH", f"users/{member}", {"user": {"enabled": False}}),
        "project": ("PATCH", f"projects/{demo}", {"project": {"enabled": False}}),
        "role": ("DELETE", f"projects/{demo}/users/{member}/roles/{role}", None),
    }[what]
    assert cloud.call(method, f"{V3}/{path}", "admin", body).status in (200, 204)
    assert cloud.call("GET", "/network/v2.0/networks", token).status == 401
    exchange = {"auth": {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": {"project": {"id": demo}}}}
    assert cloud.call("POST", f"{V3}/auth/tokens", None, exchange).status == 404


def test_a_restricted_application_credential_makes_nothing_that_outlives_it(cloud: TestCloud) -> None:
    member = f"{V3}/users/{cloud.user_id('member')}"
    made = cloud.call(
        "POST", f"{member}/application_credentials", "member", {"application_credential": {"name": "ci", "roles": [{"name": "reader"}]}}
    )
    one = made.json["application_credential"]
    auth = {"methods": ["application_credential"], "application_credential": {"id": one["id"], "secret": one["secret"]}}
    token = cloud.call("POST", f"{V3}/auth/tokens", None, {"auth": {"identity": auth}}).headers["x-subject-token"]
    assert cloud.call("GET", "/network/v2.0/networks", token).status == 200
    assert cloud.call("POST", "/network/v2.0/networks", token, {"network": {}}).status == 403
    for path, body in (
        (f"{member}/application_credentials", {"application_credential": {"name": "more"}}),
        (f"{V3}/OS-TRUST/trusts", {"trust": {
            "trustor_user_id": cloud.user_id("member"), "trustee_user_id": cloud.user_id("member"), "impersonation": True,
            "project_id": cloud.project_id(), "roles": [{"name": "member"}]}}),
        (f"{member}/credentials/OS-EC2", {"tenant_id": cloud.project_id()}),
    ):  # fmt: skip
        assert cloud.call("POST", path, token, body).status == 403, path
    for scope in (
        {"project": {"name": "other", "domain": {"id": "default"}}},
        {"system": {"all": True}},
        "unscoped",
        {"domain": {"id": "default"}},
    ):
        exchange = {"auth": {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}}
        assert cloud.call("POST", f"{V3}/auth/tokens", None, exchange).status in (401, 403), scope


@pytest.mark.parametrize(
    "header",
    ["X-User-Id", "X-Project-Id", "X-Roles", "X-Is-Admin-Project", "X-Identity-Status", "X-Tenant-Id", "X-System-Scope", "X-Service-Token",
     "Forwarded", "X-Forwarded-User", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override"],
)  # fmt: skip
def test_no_header_but_the_token_says_who_asks(header: str, shared_cloud: TestCloud) -> None:
    value = {"X-Roles": "admin", "X-Identity-Status": "Confirmed", "X-HTTP-Method-Override": "DELETE"}.get(
        header, shared_cloud.user_id("admin")
    )
    assert shared_cloud.call("GET", "/compute/v2.1/servers", headers={header: value}).status == 401
    assert shared_cloud.call("GET", "/compute/v2.1/os-hypervisors", "member", headers={header: value}).status == 403
    assert shared_cloud.call("GET", "/identity/v3/users", "member", headers={header: value}).status == 403


def test_an_idempotency_key_opens_nobody_elses_answer(cloud: TestCloud) -> None:
    headers, body = {"Idempotency-Key": "k"}, {"keypair": {"name": "mine"}}
    path = "/compute/v2.1/os-keypairs"
    first = cloud.call("POST", path, "member", body, headers)
    again = cloud.call("POST", path, "member", body, headers)
    others = cloud.call("POST", path, "other_project_member", body, headers)
    assert first.json == again.json and "private_key" in first.json["keypair"]
    assert others.json["keypair"]["public_key"] != first.json["keypair"]["public_key"]
    assert b"PRIVATE KEY" not in b"".join(one.read_bytes() for one in cloud.directory.glob("pileus.db*"))


@pytest.mark.parametrize("tag", ["a%0d%0aSet-Cookie:%20x=1", "a\nb", "a\0b", "\x85x"])
def test_a_name_does_not_add_headers_to_an_answer(tag: str, cloud: TestCloud) -> None:
    from urllib.parse import unquote

    answer = cloud.call("PUT", f"{V3}/projects/{cloud.project_id()}/tags/{unquote(tag)}", "admin")
    assert answer.status in (201, 400)
    assert all(character.isprintable() for value in answer.headers.values() for character in value)
