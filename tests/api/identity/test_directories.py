"""Domains in LDAP: users and groups of a real slapd, listed, shown, logged in, and never changed."""

import hashlib
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pileus.api.identity.directory_watch import DirectoryWatch
from tests.api.harness import PASSWORD, Answer, TestCloud
from tests.slapd import ADMIN, ALICE, BOB, CAROL, SECRET, SUFFIX, Slapd, person

pytest.importorskip("ldap3", reason="needs ldap3: pip install 'pileus[ldap]'")
V3 = "/identity/v3"
PEOPLE, GROUPS = f"ou=People,{SUFFIX}", f"ou=Groups,{SUFFIX}"


@pytest.fixture
def slapd() -> Iterator[Slapd]:
    """A directory of its own."""
    made = Slapd()
    yield made
    made.remove()


class Company:
    """A domain whose users and groups are in the directory."""

    def __init__(self, cloud: TestCloud, slapd: Slapd, **options: Any) -> None:
        self.cloud = cloud
        self.id = cloud.call("POST", f"{V3}/domains", token="admin", json={"domain": {"name": "company"}}).json["domain"]["id"]
        self.options = {
            "url": slapd.url, "user": ADMIN, "password": SECRET, "suffix": SUFFIX, "user_tree_dn": PEOPLE, "group_tree_dn": GROUPS,
            "user_objectclass": "inetOrgPerson", "user_id_attribute": "uid", "user_name_attribute": "cn", "group_name_attribute": "cn",
            "user_enabled_attribute": "employeeType",
        }  # fmt: skip
        answer = self.configure(**options)
        assert answer.status == 201, answer

    def configure(self, **options: Any) -> Answer:
        self.options |= options
        config = {"identity": {"driver": "ldap"}, "ldap": self.options}
        return self.cloud.call("PUT", f"{V3}/domains/{self.id}/config", token="admin", json={"config": config})

    def user_id(self, local_id: str) -> str:
        return hashlib.sha256(f"{self.id}user{local_id}".encode()).hexdigest()

    def group_id(self, local_id: str) -> str:
        return hashlib.sha256(f"{self.id}group{local_id}".encode()).hexdigest()

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.cloud.call("GET", f"{V3}/{path}", token="admin")
        assert answer.status == status, answer
        return answer.json

    def names(self, query: str = "") -> list[str]:
        return sorted(one["name"] for one in self.get(f"users?domain_id={self.id}{query}")["users"])

    def login(self, user: str, password: str, scope: Any = None, **who: Any) -> Answer:
        named = who or {"name": user, "domain": {"id": self.id}}
        identity = {"methods": ["password"], "password": {"user": {**named, "password": password}}}
        body = {"auth": {"identity": identity, **({"scope": scope} if scope else {})}}
        return self.cloud.call("POST", f"{V3}/auth/tokens", json=body)

    def give(self, kind: str, key: str, role: str = "member") -> None:
        roles = self.get(f"roles?name={role}")["roles"]
        path = f"{V3}/projects/{self.cloud.project_id()}/{kind}/{key}/roles/{roles[0]['id']}"
        answer = self.cloud.call("PUT", path, token="admin")
        assert answer.status == 204, answer

    @property
    def demo(self) -> dict[str, Any]:
        return {"project": {"id": self.cloud.project_id()}}


@pytest.fixture
def company(cloud: TestCloud, slapd: Slapd) -> Company:
    return Company(cloud, slapd)


def test_users_and_groups_are_listed_and_shown_with_ids_that_last(company: Company) -> None:
    assert company.names() == ["alice", "bob", "carol", "star*(x)"]
    alice = company.get(f"users/{company.user_id('alice')}")["user"]
    assert {name: alice[name] for name in ("name", "domain_id", "enabled", "email", "description", "password_expires_at")} == {
        "name": "alice", "domain_id": company.id, "enabled": True, "email": "alice@example.org", "description": "the first",
        "password_expires_at": None,
    }  # fmt: skip
    assert company.get(f"users/{company.user_id('carol')}")["user"]["enabled"] is False
    assert [one["name"] for one in company.get(f"users?domain_id={company.id}&enabled=false")["users"]] == ["carol"]
    [group] = company.get(f"groups?domain_id={company.id}")["groups"]
    assert (group["id"], group["name"], group["description"]) == (company.group_id("builders"), "builders", "they build")
    members = company.get(f"groups/{group['id']}/users")["users"]
    assert sorted(one["name"] for one in members) == ["alice", "carol"]
    assert [one["name"] for one in company.get(f"users/{alice['id']}/groups")["groups"]] == ["builders"]
    assert company.cloud.call("HEAD", f"{V3}/groups/{group['id']}/users/{alice['id']}", token="admin").status == 204
    assert company.cloud.call("HEAD", f"{V3}/groups/{group['id']}/users/{company.user_id('bob')}", token="admin").status == 404


def test_who_logs_in_has_the_roles_of_itself_and_of_its_groups(company: Company) -> None:
    company.names()
    company.get(f"groups?domain_id={company.id}")
    company.give("users", company.user_id("bob"), "reader")
    company.give("groups", company.group_id("builders"))
    token = company.login("bob", BOB, company.demo)
    assert token.status == 201 and [one["name"] for one in token.json["token"]["roles"]] == ["reader"]
    assert token.json["token"]["user"]["domain"] == {"id": company.id, "name": "company"}
    token = company.login("Alice", ALICE, company.demo)
    assert token.status == 201 and {one["name"] for one in token.json["token"]["roles"]} == {"member", "reader"}
    text = token.headers["x-subject-token"]
    assert company.cloud.call("GET", "/compute/v2.1/servers", token=text).status == 200
    assert company.login("", ALICE, id=company.user_id("alice")).status == 201
    effective = company.get(f"role_assignments?effective&user.id={company.user_id('alice')}")["role_assignments"]
    assert {one["scope"]["project"]["id"] for one in effective} == {company.cloud.project_id()}


def test_who_leaves_a_group_loses_what_it_gave_at_the_next_look(company: Company, slapd: Slapd) -> None:
    company.get(f"groups?domain_id={company.id}")
    company.give("groups", company.group_id("builders"))
    text = company.login("alice", ALICE, company.demo).headers["x-subject-token"]
    slapd.change(f"cn=builders,{GROUPS}", member=f"cn=bob,{PEOPLE}")
    assert company.get(f"users/{company.user_id('alice')}/groups")["groups"] == []
    assert company.cloud.call("GET", "/compute/v2.1/servers", token=text).status == 401
    assert company.login("alice", ALICE, company.demo).status == 401


def test_wrong_and_empty_passwords_and_disabled_users_are_refused(company: Company) -> None:
    assert company.login("alice", ALICE).status == 201
    assert company.login("alice", "wrong").status == 401
    assert company.login("alice", "").status == 401, "the directory would take nobody for alice"
    assert company.login("nobody", "").status == 401
    assert company.login("carol", CAROL).status == 401
    assert company.login("", "", id=company.user_id("bob")).status == 401
    assert company.login("", ALICE, id="0" * 64).status == 401


def test_a_name_is_never_a_filter(company: Company) -> None:
    for name in ("*", "a*", "alice)(uid=*", "*)(objectClass=*", "\\2a", "alice\0"):
        assert company.login(name, ALICE).status in (400, 401), name
        assert company.get(f"users?domain_id={company.id}&name=%2A")["users"] == []
    assert company.login("star*(x)", "stars").status == 201
    assert company.names("&name=star*(x)") == ["star*(x)"]


def test_nothing_is_written_to_a_directory(company: Company) -> None:
    company.names()
    company.get(f"groups?domain_id={company.id}")
    cloud, alice, builders = company.cloud, company.user_id("alice"), company.group_id("builders")
    member = cloud.user_id("member")
    mine = cloud.call("POST", f"{V3}/groups", token="admin", json={"group": {"name": "mine"}}).json["group"]["id"]
    for method, path, body in [
        ("POST", "users", {"user": {"name": "new", "domain_id": company.id}}),
        ("PATCH", f"users/{alice}", {"user": {"email": "x"}}),
        ("PATCH", f"users/{alice}", {"user": {"password": "a password of ours"}}),
        ("DELETE", f"users/{alice}", None),
        ("POST", "groups", {"group": {"name": "new", "domain_id": company.id}}),
        ("PATCH", f"groups/{builders}", {"group": {"name": "x"}}),
        ("DELETE", f"groups/{builders}", None),
        ("PUT", f"groups/{builders}/users/{member}", None),
        ("PUT", f"groups/{mine}/users/{alice}", None),
        ("DELETE", f"groups/{builders}/users/{alice}", None),
    ]:
        answer = cloud.call(method, f"{V3}/{path}", token="admin", json=body)
        assert answer.status == 403 and "LDAP does not support write operations" in answer.body.decode(), (method, path, answer)
    body = {"user": {"original_password": ALICE, "password": "a password of ours"}}
    assert cloud.call("POST", f"{V3}/users/{alice}/password", json=body).status == 403


def test_a_directory_that_is_down_touches_no_other_domain(company: Company, slapd: Slapd) -> None:
    company.names()
    company.give("users", company.user_id("alice"))
    text = company.login("alice", ALICE, company.demo).headers["x-subject-token"]
    slapd.stop()
    assert company.login("alice", ALICE).status == 503
    assert company.cloud.call("GET", f"{V3}/users?domain_id={company.id}", token="admin").status == 503
    assert company.get(f"users/{company.user_id('alice')}", 503)["error"]["message"].startswith(
        "The directory of this domain does not answer"
    )
    assert company.login("demo", PASSWORD, name="demo", domain={"id": "default"}).status == 201
    assert "demo" in {one["name"] for one in company.get("users")["users"]}
    assert company.cloud.call("GET", "/compute/v2.1/servers", token=text).status == 200, "a token lasts"
    slapd.start()
    assert company.login("alice", ALICE).status == 201


def test_a_directory_that_says_nothing_is_given_up(cloud: TestCloud, slapd: Slapd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
        company = Company(cloud, slapd, url=url, pool_connection_timeout=1)
        assert company.login("alice", ALICE).status == 503
        company.configure(url=f"{url},{slapd.url}")
        slapd_only = company.configure(url=slapd.url)
        assert slapd_only.status == 200 and company.login("alice", ALICE).status == 201


def test_while_a_directory_says_nothing_others_log_in(cloud: TestCloud, slapd: Slapd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        company = Company(cloud, slapd, url=f"ldap://127.0.0.1:{silent.getsockname()[1]}", pool_connection_timeout=1)
        with ThreadPoolExecutor(max_workers=12) as clients:
            waiting = [clients.submit(company.login, "alice", ALICE) for _ in range(10)]
            deadline = time.monotonic() + 10
            while not any(one.name.startswith("directory") for one in threading.enumerate()):
                assert time.monotonic() < deadline
            assert company.login("demo", PASSWORD, name="demo", domain={"id": "default"}).status == 201
            assert not any(one.done() for one in waiting)
            assert {one.result(60).status for one in waiting} <= {503, 429}


def test_a_user_that_logs_in_for_the_first_time_may_do_so_several_times_at_once(company: Company) -> None:
    with ThreadPoolExecutor(max_workers=6) as clients:
        logins = [clients.submit(company.login, "alice", ALICE) for _ in range(6)]
        assert [one.result(60).status for one in logins] == [201] * 6


def test_who_is_gone_keeps_its_roles_and_gets_them_back(company: Company, slapd: Slapd) -> None:
    company.names()
    company.give("users", company.user_id("alice"))
    text = company.login("alice", ALICE, company.demo).headers["x-subject-token"]
    slapd.delete(f"cn=alice,{PEOPLE}")
    slapd.delete(f"cn=bob,{PEOPLE}")
    assert company.names("&enabled=true") == ["star*(x)"]
    company.get(f"users/{company.user_id('bob')}", 404)
    assert company.get(f"users/{company.user_id('alice')}")["user"]["enabled"] is False
    assert company.cloud.call("GET", "/compute/v2.1/servers", token=text).status == 401
    assert company.login("alice", ALICE).status == 401
    slapd.add(f"cn=alice,{PEOPLE}", person("alice", userPassword=ALICE, employeeType="TRUE"))
    assert company.login("alice", ALICE, company.demo).status == 201


def test_an_id_outlives_a_name_and_a_name_an_id(company: Company, slapd: Slapd) -> None:
    company.names()
    company.give("users", company.user_id("alice"))
    slapd.delete(f"cn=alice,{PEOPLE}")
    slapd.add(f"cn=alice,{PEOPLE}", {**person("alice", userPassword="another", employeeType="TRUE"), "uid": "alice2"})
    assert company.login("alice", "another").json["token"]["user"]["id"] == company.user_id("alice2")
    assert company.login("alice", "another", company.demo).status == 401, "it is somebody else"


def test_tls_is_verified(cloud: TestCloud, slapd: Slapd) -> None:
    authority = str(slapd.directory / "ca.pem")
    company = Company(cloud, slapd, url=slapd.tls_url, tls_cacertfile=authority)
    assert company.login("alice", ALICE).status == 201
    for options in ({"tls_cacertfile": str(slapd.directory / "other.pem")}, {"tls_cacertfile": None}):
        assert company.configure(**options).status == 200
        assert company.login("alice", ALICE).status == 503
    assert company.configure(tls_cacertfile=authority, url=slapd.tls_url.replace("127.0.0.1", "localhost")).status == 200
    assert company.login("alice", ALICE).status == 503, "the certificate is of another name"
    assert company.configure(tls_req_cert="never").status == 200
    assert company.login("alice", ALICE).status == 201
    assert company.configure(tls_req_cert="demand", use_tls=True, url=slapd.url).status == 200
    assert company.login("alice", ALICE).status == 201
    assert company.configure(tls_cacertfile=str(slapd.directory / "other.pem")).status == 200
    assert company.login("alice", ALICE).status == 503


def test_options_that_cannot_be_meant_are_refused_when_they_are_written(company: Company, slapd: Slapd) -> None:
    for wrong in (
        {"tls_cacertfile": "/no/such/file"},
        {"tls_cacertfile": str(slapd.config)},
        {"tls_req_cert": "maybe"},
        {"query_scope": "base"},
        {"page_size": "many"},
        {"use_tls": "perhaps"},
        {"url": slapd.tls_url, "use_tls": True},
        {"user_tree_dn": ["ou=People"]},
    ):
        body = {"config": {"ldap": wrong}}
        answer = company.cloud.call("PATCH", f"{V3}/domains/{company.id}/config", token="admin", json=body)
        assert answer.status == 400, (wrong, answer)
    assert company.login("alice", ALICE).status == 201


def test_a_driver_that_is_not_there_is_told_whoever_needs_it(company: Company) -> None:
    body = {"config": {"identity": {"driver": "LDAP"}}}
    assert company.cloud.call("PATCH", f"{V3}/domains/{company.id}/config", token="admin", json=body).status == 200
    answer = company.cloud.call("GET", f"{V3}/users?domain_id={company.id}", token="admin")
    assert answer.status == 503 and "there are sql and ldap" in answer.body.decode()
    assert company.login("alice", ALICE).status == 503
    assert company.login("", ALICE, id=company.user_id("alice")).status in (401, 503)


def test_without_the_library_it_is_said_what_to_install(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ldap3", None)
    answer = company.cloud.call("GET", f"{V3}/users?domain_id={company.id}", token="admin")
    assert answer.status == 503 and "pip install 'pileus[ldap]'" in answer.body.decode()


def test_a_domain_with_users_of_its_own_gets_no_directory(cloud: TestCloud) -> None:
    body = {"config": {"identity": {"driver": "ldap"}}}
    assert cloud.call("PUT", f"{V3}/domains/default/config", token="admin", json=body).status == 409
    assert cloud.call("GET", f"{V3}/domains/default/config", token="admin").status == 404


def test_without_its_directory_a_domains_users_cannot_log_in(company: Company) -> None:
    company.names()
    cloud = company.cloud
    assert cloud.call("DELETE", f"{V3}/domains/{company.id}/config", token="admin").status == 204
    assert company.login("alice", ALICE).status == 401
    body = {"user": {"password": "a password of ours"}}
    assert cloud.call("PATCH", f"{V3}/users/{company.user_id('alice')}", token="admin", json=body).status == 200
    assert company.login("alice", "a password of ours").status == 401
    assert cloud.call("DELETE", f"{V3}/users/{company.user_id('alice')}", token="admin").status == 204
    body = {"domain": {"enabled": False}}
    assert cloud.call("PATCH", f"{V3}/domains/{company.id}", token="admin", json=body).status == 200
    assert cloud.call("DELETE", f"{V3}/domains/{company.id}", token="admin").status == 204
    assert cloud.run(cloud.db.all("SELECT * FROM directory_ids")) == []


def test_lists_come_in_pages_and_below_the_tree_too(cloud: TestCloud, slapd: Slapd) -> None:
    slapd.add(f"ou=Deep,{PEOPLE}", {"objectClass": ["organizationalUnit"], "ou": "Deep"})
    for number in range(7):
        slapd.add(f"cn=n{number},ou=Deep,{PEOPLE}", person(f"n{number}", employeeType="TRUE"))
    company = Company(cloud, slapd, page_size=2)
    assert len(company.names()) == 4
    company.configure(query_scope="sub")
    assert len(company.names()) == 11
    company.configure(user_filter="uid=n*")
    assert company.names("&enabled=true") == [f"n{number}" for number in range(7)]
    assert company.login("alice", ALICE).status == 401


def test_groups_of_ids_and_who_is_enabled_by_a_group(cloud: TestCloud, slapd: Slapd) -> None:
    slapd.add(f"cn=posix,{GROUPS}", {"objectClass": ["posixGroup"], "cn": "posix", "gidNumber": "7", "memberUid": ["bob", "gone"]})
    company = Company(
        cloud, slapd, group_objectclass="posixGroup", group_member_attribute="memberUid", group_members_are_ids=True,
    )  # fmt: skip
    [group] = company.get(f"groups?domain_id={company.id}")["groups"]
    assert [one["name"] for one in company.get(f"groups/{group['id']}/users")["users"]] == ["bob"]
    company.names()
    assert [one["name"] for one in company.get(f"users/{company.user_id('bob')}/groups")["groups"]] == ["posix"]
    company.configure(
        group_objectclass="groupOfNames", group_member_attribute="member", group_members_are_ids=False, user_enabled_emulation=True,
        user_enabled_emulation_dn=f"cn=builders,{GROUPS}",
    )  # fmt: skip
    assert company.login("alice", ALICE).status == 201
    assert company.login("carol", CAROL).status == 201
    assert company.login("bob", BOB).status == 401


def test_a_password_stands_in_no_log(company: Company, slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        company.login("alice", ALICE)
        company.login("alice", "a wrong word")
        company.configure(password="another secret")
        assert company.login("alice", ALICE).status == 503
        slapd.stop()
        company.login("alice", ALICE)
    said = caplog.text + "".join(path.read_text() for path in company.cloud.directory.rglob("*.log"))
    assert "does not accept the user and password" in said
    for secret in (ALICE, SECRET, "a wrong word", "another secret"):
        assert secret not in said


def test_a_login_is_still_the_directorys_when_its_token_is_exchanged(company: Company, slapd: Slapd) -> None:
    company.names()
    company.give("users", company.user_id("alice"))
    text = company.login("alice", ALICE).headers["x-subject-token"]
    body = {"auth": {"identity": {"methods": ["token"], "token": {"id": text}}, "scope": company.demo}}
    assert company.cloud.call("POST", f"{V3}/auth/tokens", json=body).status == 201
    slapd.change(f"cn=alice,{PEOPLE}", employeeType="FALSE")
    assert company.cloud.call("POST", f"{V3}/auth/tokens", json=body).status == 401
    assert company.cloud.call("GET", f"{V3}/auth/projects", token=text).status == 401, "and the token is void"


def test_who_is_disabled_in_the_directory_loses_its_tokens_at_the_next_look(company: Company, slapd: Slapd) -> None:
    company.names()
    company.get(f"groups?domain_id={company.id}")
    company.give("groups", company.group_id("builders"))
    company.give("users", company.user_id("bob"))
    tokens = {
        name: company.login(name, secret, company.demo).headers["x-subject-token"] for name, secret in (("alice", ALICE), ("bob", BOB))
    }
    watch = DirectoryWatch(company.cloud.cloud)
    company.cloud.run(watch.look())
    assert {company.cloud.call("GET", "/compute/v2.1/servers", token=one).status for one in tokens.values()} == {200}
    slapd.change(f"cn=alice,{PEOPLE}", employeeType="FALSE")
    company.cloud.run(watch.look())
    assert company.cloud.call("GET", "/compute/v2.1/servers", token=tokens["alice"]).status == 401
    assert company.cloud.call("GET", "/compute/v2.1/servers", token=tokens["bob"]).status == 200
    slapd.stop()
    company.cloud.run(watch.look())
    assert company.cloud.call("GET", "/compute/v2.1/servers", token=tokens["bob"]).status == 200, (
        "a silent directory says nothing of anybody"
    )


def test_the_openstack_client_sees_and_is_a_user_of_the_directory(company: Company) -> None:
    cloud = company.cloud
    listed = cloud.openstack("user", "list", "--domain", "company", "-f", "value", "-c", "Name", user="admin", project="admin")
    assert "alice" in str(listed)
    grant = ("role", "add", "--user", "alice", "--user-domain", "company", "--project", "demo", "--project-domain", "default", "member")
    cloud.openstack(*grant, user="admin", project="admin")
    who = {"OS_USER_DOMAIN_ID": company.id, "OS_PASSWORD": ALICE}
    assert cloud.openstack("token", "issue", "-f", "json", user="alice", **who)["user_id"] == company.user_id("alice")
    assert cloud.openstack("network", "list", "-f", "json", user="alice", **who) == []
