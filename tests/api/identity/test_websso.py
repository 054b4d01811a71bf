"""Logins by browser: to the provider and back, once, for a dashboard that an operator has named, and for the browser that began."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from pileus import clock
from pileus.model.federation import FederationSettings
from tests.api.harness import Answer, TestCloud
from tests.api.identity.federation import Federation
from tests.api.identity.openid_server import OpenIdServer

DASHBOARD = "https://dashboard.example/auth/websso/"
SSO = "/identity/v3/auth/OS-FEDERATION"
PLACE = f"{SSO}/identity_providers/corp/protocols/openid"


@pytest.fixture
def browser(signing: OpenIdServer) -> Iterator["Browser"]:
    signing.forget()
    cloud = TestCloud(federation=FederationSettings(trusted_dashboards=["HTTPS://Dashboard.Example/auth/websso/"]))
    yield Browser(Federation(cloud, signing))
    cloud.close()


class Browser:
    """What a browser would do, with its cookies."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.cloud = federation.cloud
        self.server = federation.server
        self.server.id_claims = {"name": "alice", "email": "a@x", "groups": ["staff"]}
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **query: str) -> Answer:
        cookies = "; ".join(["other=1", *(f"{name}={value}" for name, value in self.cookies.items())])
        answer = self.cloud.call("GET", f"{path}?{urlencode(query)}", headers={"Cookie": cookies})
        if "set-cookie" in answer.headers:
            name, _, rest = answer.headers["set-cookie"].partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return answer

    def begin(self, path: str = f"{PLACE}/websso", origin: str = DASHBOARD) -> str:
        """Where the browser is sent."""
        answer = self.get(path, origin=origin)
        assert answer.status == 302, answer
        return answer.headers["location"]

    def come_back(self, said: dict[str, str], path: str = f"{PLACE}/callback") -> Answer:
        return self.get(path, **said)


def posted(answer: Answer) -> tuple[str, str]:
    """What the page posts, and where to."""
    text = answer.body.decode()
    found = re.search(r'action="([^"]*)" method="post"><input type="hidden" name="token" id="token" value="([^"]*)"', text)
    assert found, text
    return found[1], found[2]


@pytest.mark.parametrize("path", [f"{PLACE}/websso", f"{SSO}/websso/openid"])
def test_a_user_logs_in_at_the_provider_and_the_dashboard_gets_a_token(browser: Browser, path: str) -> None:
    location = browser.begin(path)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert asked["redirect_uri"] == f"http://cloud.test{PLACE}/callback" and asked["code_challenge_method"] == "S256"
    done = browser.come_back(browser.server.sign_in(location))
    assert done.status == 200, done
    where, token = posted(done)
    assert where == DASHBOARD
    shown = browser.cloud.call("GET", "/identity/v3/auth/tokens", token="admin", headers={"x-subject-token": token}).json["token"]
    assert shown["user"]["name"] == "alice" and shown["methods"] == ["mapped", "openid"]
    policy = done.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce and f'<script nonce="{nonce[1]}">' in done.body.decode()
    assert done.headers["cache-control"] == "no-store" and "frame-ancestors 'none'" in policy


def test_the_cookie_is_for_this_login_alone_and_no_script_reads_it(browser: Browser) -> None:
    answer = browser.get(f"{PLACE}/websso", origin=DASHBOARD)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and f"Path={PLACE}/callback;" in cookie
    state = parse_qs(urlsplit(answer.headers["location"]).query)["state"][0]
    assert state not in cookie


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example/auth/websso/",
        "https://dashboard.example.evil.example/auth/websso/",
        "https://dashboard.example@evil.example/auth/websso/",
        "https://dashboard.example/auth/websso/?next=https://evil.example",
        "https://dashboard.example/auth/websso",
        "https://dashboard.example/auth/websso/../../evil",
        "http://dashboard.example/auth/websso/",
        "https://dashboard.example:444/auth/websso/",
        "//dashboard.example/auth/websso/",
        "javascript:alert(1)",
        "https://dashboard.example\\@evil.example/auth/websso/",
        'https://dashboard.example/auth/websso/"><script>',
    ],
)
def test_only_a_dashboard_that_an_operator_has_named_gets_a_token(browser: Browser, origin: str) -> None:
    for path in (f"{PLACE}/websso", f"{SSO}/websso/openid"):
        answer = browser.get(path, origin=origin)
        assert answer.status == 401 and "location" not in answer.headers, answer


def test_a_dashboard_must_be_named_at_all(browser: Browser) -> None:
    assert browser.get(f"{PLACE}/websso").status == 400
    assert browser.get(f"{SSO}/websso/openid", origin="").status == 400


def test_the_dashboard_is_looked_at_again_at_the_end(browser: Browser) -> None:
    location = browser.begin()
    import msgspec

    browser.cloud.cloud.config = msgspec.structs.replace(browser.cloud.cloud.config, federation=FederationSettings())
    assert browser.come_back(browser.server.sign_in(location)).status == 401


def test_an_answer_counts_once(browser: Browser) -> None:
    location = browser.begin()
    said = browser.server.sign_in(location)
    held = dict(browser.cookies)
    assert browser.come_back(said).status == 200
    browser.cookies = held  # the browser was told to forget it
    again = browser.server.sign_in(location)  # a new code for the same state
    for replayed in (said, again):
        answer = browser.come_back(replayed)
        assert answer.status == 401 and "before" in answer.body.decode(), answer


def test_an_answer_is_for_the_browser_that_began(browser: Browser) -> None:
    """Else whoever sends a link could log others in as himself."""
    mine = browser.server.sign_in(browser.begin())
    browser.cookies.clear()
    assert browser.come_back(mine).status == 401
    other = browser.begin()
    assert browser.come_back({**mine}).status == 401
    assert browser.come_back({"code": "x", "state": "y"}).status == 401
    assert browser.come_back({}).status == 401
    assert browser.come_back({"state": parse_qs(urlsplit(other).query)["state"][0], "error": "access_denied"}).status == 401


def test_a_cookie_that_was_made_up_or_is_another_logins_is_refused(browser: Browser) -> None:
    first = browser.server.sign_in(browser.begin())
    [(name, sealed)] = browser.cookies.items()
    for wrong in ("", "x", sealed[:-5] + "AAAA=", browser.cloud.token("member")):
        browser.cookies = {name: wrong}
        assert browser.come_back(first).status == 401, wrong
    browser.cookies.clear()
    browser.begin()
    [(_, another)] = browser.cookies.items()
    browser.cookies = {name: another}
    answer = browser.come_back(first)
    assert answer.status == 401 and "another login" in answer.body.decode()


def test_a_login_that_takes_too_long_is_over(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    said = browser.server.sign_in(browser.begin())
    later = clock.now() + 601
    browser.server.id_claims["exp"] = later + 300
    monkeypatch.setattr("pileus.api.identity.websso.clock.now", lambda: later)
    answer = browser.come_back(said)
    assert answer.status == 401 and "too long" in answer.body.decode()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"nonce": "replayed"}, "another login"),
        ({"nonce": None}, "another login"),
        ({"aud": "another client"}, "audience"),
        ({"aud": ["pileus", "other"], "azp": "other"}, "another client"),
        ({"iss": "https://other.example"}, "issuer"),
        ({"exp": 1}, "expired"),
        ({"header": {"typ": "at+jwt"}}, "no ID token"),
        ({"name": "nobody"}, "mapping"),
    ],
)
def test_an_id_token_that_is_not_of_this_login_is_refused(browser: Browser, wrong: dict[str, Any], words: str) -> None:
    browser.server.id_claims |= wrong
    answer = browser.come_back(browser.server.sign_in(browser.begin()))
    assert answer.status == 401 and words in answer.body.decode(), answer


def test_a_code_of_another_login_is_refused(browser: Browser) -> None:
    """The provider binds the code to the secret that this login began with (PKCE)."""
    stolen = browser.server.sign_in(browser.begin())
    browser.cookies.clear()
    mine = browser.server.sign_in(browser.begin())
    assert browser.come_back({**mine, "code": stolen["code"]}).status == 401


def test_another_provider_can_not_answer(browser: Browser) -> None:
    """RFC 9207: where a provider says who it is in its answer, that must be the one that was asked."""
    location = browser.begin()
    assert browser.come_back({**browser.server.sign_in(location), "iss": "https://other.example"}).status == 401
    browser.server.metadata = {"authorization_response_iss_parameter_supported": True}
    browser.federation.settings(scopes=["profile"])
    location = browser.begin()
    assert browser.come_back(browser.server.sign_in(location)).status == 401
    assert browser.come_back({**browser.server.sign_in(location), "iss": browser.server.issuer}).status == 200


def test_an_answer_is_for_the_provider_that_was_asked(browser: Browser) -> None:
    federation = browser.federation
    federation.put("identity_providers/evil", identity_provider={"enabled": True})
    federation.put("identity_providers/evil/protocols/openid", protocol={"mapping_id": "m"})
    said = browser.server.sign_in(browser.begin())
    assert browser.come_back(said, PLACE.replace("corp", "evil") + "/callback").status == 401


def test_a_provider_that_was_disabled_meanwhile_lets_nobody_in(browser: Browser) -> None:
    said = browser.server.sign_in(browser.begin())
    browser.federation.patch("identity_providers/corp", identity_provider={"enabled": False})
    assert browser.come_back(said).status == 403
    assert browser.get(f"{PLACE}/websso", origin=DASHBOARD).status == 403
    assert browser.get(f"{SSO}/websso/openid", origin=DASHBOARD).status == 404


def test_of_several_providers_the_user_chooses(browser: Browser) -> None:
    federation = browser.federation
    federation.put("identity_providers/o'ther & <co>", identity_provider={"enabled": True})
    federation.put("identity_providers/o'ther & <co>/protocols/openid", protocol={"mapping_id": "m"})
    whole = {"issuer": federation.server.issuer, "client_id": "pileus"}
    federation.put("identity_providers/o'ther & <co>/protocols/openid/openid", openid=whole)
    page = browser.get(f"{SSO}/websso/openid", origin=DASHBOARD)
    text = page.body.decode()
    assert page.status == 200 and "<co>" not in text
    links = re.findall(r'href="http://cloud.test([^"?]*)\?', text)
    assert len(links) == 2 and f"{PLACE}/websso" in links


def test_what_the_id_token_lacks_is_asked_for(browser: Browser) -> None:
    browser.federation.settings(userinfo=True)
    browser.federation.rules([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "OIDC-nickname"}]}])
    done = browser.come_back(browser.server.sign_in(browser.begin()))
    assert done.status == 200, done
    assert browser.cloud.call("GET", "/identity/v3/users?idp_id=corp", token="admin").json["users"][0]["name"] == "nick"


def test_a_login_by_browser_is_audited(browser: Browser) -> None:
    from pileus.api.audit import AuditLog

    audit = AuditLog(browser.cloud.directory)
    browser.cloud.cloud.watchers.append(audit)
    location = browser.begin()
    said = browser.server.sign_in(location)
    browser.come_back(said)
    browser.come_back(said)
    lines = [line for line in audit.path.read_text().splitlines() if '"login"' in line]
    assert len(lines) == 2 and '"success"' in lines[0] and '"refused"' in lines[1]
    assert said["code"] not in audit.path.read_text()
    audit.close()
