"""Which tokens of a provider count: what an attacker shows doesn't, and a provider that is slow or wrong harms nobody else."""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from pileus import clock
from pileus.api.identity import openid_provider, provider_requests
from tests.api.identity.federation import Federation
from tests.api.identity.openid_server import CLIENT, OpenIdServer


def refused(federation: Federation, token: str, words: str = "") -> None:
    answer = federation.show(token)
    assert answer.status == 401 and words in answer.body.decode(), answer


def encoded(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def claims(federation: Federation, **more: Any) -> dict[str, Any]:
    named = {"name": "alice", "email": "a@x", "groups": ["staff"]}
    return {"iss": federation.server.issuer, "sub": "u-1", "aud": CLIENT, "exp": int(time.time()) + 300, **named, **more}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "another client"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "expired"),
        ({"nbf": 9e9}, "not count yet"),
        ({"sub": None}, "whose"),
        ({"sub": ""}, "whose"),
        ({"header": {"typ": "logout+jwt"}}, "type"),
        ({"header": {"crit": ["x"], "x": 1}}, "understood"),
    ],
)
def test_a_token_that_is_not_for_us_or_not_for_now_is_refused(federation: Federation, wrong: dict[str, Any], words: str) -> None:
    assert federation.login(aud=[CLIENT, "others"]).status == 201
    refused(federation, federation.token(**wrong), words)


def test_what_must_be_a_number_is_refused_as_a_text(federation: Federation) -> None:
    for exp in ("9e9", True, [9e9]):
        payload = json.dumps({**claims(federation), "exp": exp}).encode()
        token = jwt.PyJWS().encode(payload, federation.server.keys["first"], "RS256", headers={"kid": "first"})
        refused(federation, token, "expired")


def test_a_token_without_a_signature_is_refused(federation: Federation) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        for signature in ("", "x"):
            refused(federation, f"{encoded({'alg': algorithm, 'kid': 'first'})}.{encoded(claims(federation))}.{signature}", "not accepted")


def test_a_public_key_is_no_shared_secret(federation: Federation) -> None:
    """Key confusion: what everybody may read signs nothing."""
    public = federation.server.keys["first"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), json.dumps(federation.server.public("first")).encode(), b""):
        signed = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{encoded(claims(federation))}"
        mac = base64.urlsafe_b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
        refused(federation, f"{signed}.{mac}", "HS256")


def test_a_key_of_somebody_else_or_in_the_token_itself_signs_nothing(federation: Federation) -> None:
    server = federation.server
    if "evil" not in server.keys:
        server.add_key("evil")
    refused(federation, federation.token(key=server.keys["evil"]), "not signed")
    refused(federation, federation.token(key=server.keys["evil"], header={"jwk": server.public("evil")}), "not signed")
    refused(federation, federation.token(key=server.keys["evil"], header={"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}))
    whole = federation.token()
    head, payload, signature = whole.split(".")
    other = encoded(claims(federation, name="root"))
    refused(federation, f"{head}.{other}.{signature}", "not signed")
    refused(federation, f"{head}.{payload}.", "not signed")


def test_only_the_signatures_that_the_operator_names_count(federation: Federation) -> None:
    if "curve" not in federation.server.keys:
        federation.server.add_key("curve", "EC")
    federation.server.published.append("curve")
    token = federation.token(kid="curve", algorithm="ES256")
    assert federation.show(token).status == 201
    federation.settings(algorithms=["RS256"])
    refused(federation, token, "ES256")
    assert federation.login().status == 201


@pytest.mark.parametrize("token", ["", "x", ".", "..", "a.b.c", "é.b.c", "x" * 20000, "e30.e30.e30", "W10.W10.W10"])
def test_what_is_no_token_is_refused(federation: Federation, token: str) -> None:
    assert federation.show(token).status == 401


def test_without_a_token_nobody_is_asked(federation: Federation) -> None:
    path = "/identity/v3/OS-FEDERATION/identity_providers/corp/protocols/openid/auth"
    assert federation.cloud.call("POST", path).status == 401
    assert federation.cloud.call("POST", path, headers={"Authorization": "Basic eDp5"}).status == 401
    assert federation.cloud.call("POST", path, token="member").status == 401
    assert not federation.server.asked


def test_keys_are_kept_and_new_ones_found_within_bounds(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    server = federation.server
    for _ in range(3):
        assert federation.login().status == 201
    assert server.asked["/jwks"] == 1 and server.asked["/.well-known/openid-configuration"] == 1
    if "next" not in server.keys:
        server.add_key("next")
    for number in range(5):
        refused(federation, federation.token(kid="next", header={"kid": f"made-up-{number}"}))
    assert server.asked["/jwks"] == 1  # made-up names ask nothing, so soon
    server.published = ["next"]
    monkeypatch.setattr(openid_provider, "SOONEST", -1.0)
    assert federation.login(kid="next").status == 201
    assert server.asked["/jwks"] == 2
    refused(federation, federation.token())  # the old key is gone


def test_a_provider_that_does_not_answer_is_said_to_and_not_asked_at_once_again(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = federation.server
    server.broken.add("/jwks")
    answer = federation.login()
    assert answer.status == 503 and "500" in answer.body.decode(), answer
    server.broken.clear()
    assert federation.login().status == 503 and server.asked["/jwks"] == 1
    monkeypatch.setattr(openid_provider, "AFTER_FAILURE", 0.0)
    assert federation.login().status == 201
    server.broken.add("/jwks")
    later = clock.monotonic() + openid_provider.KEPT + 1
    monkeypatch.setattr(openid_provider.clock, "monotonic", lambda: later)
    assert federation.login().status == 201  # the keys that are known do for now
    assert server.asked["/jwks"] == 3


def test_a_provider_must_say_that_it_is_who_was_asked_and_may_not_lead_elsewhere(federation: Federation) -> None:
    for wrong in ({"issuer": f"{federation.server.issuer}/"}, {"jwks_uri": "http://192.0.2.1/jwks"}, {"jwks_uri": "file:///etc/passwd"}):
        federation.server.metadata = wrong
        federation.settings(scopes=[str(wrong)])  # other settings: another provider
        assert federation.login().status == 503


def test_a_provider_that_is_silent_keeps_nobody_else_waiting(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_requests, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        federation.settings(issuer=f"http://127.0.0.1:{silent.getsockname()[1]}")
        outcome: list[int] = []
        waiting = threading.Thread(target=lambda: outcome.append(federation.login().status))
        waiting.start()
        assert federation.cloud.call("GET", "/identity/v3/auth/projects", token="member").status == 200
        waiting.join(10)
        assert outcome == [503]


def test_questions_to_one_provider_are_bounded(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever shows made-up tokens makes the cloud ask, but not without end, and not others' providers less."""
    monkeypatch.setattr(openid_provider, "MOST_ASKED", 0)
    answer = federation.show("made-up")
    assert answer.status == 503 and "Too many" in answer.body.decode()
    monkeypatch.undo()
    monkeypatch.setattr(provider_requests, "MOST_WAITING", 0)
    assert federation.show("made-up").status == 503
    assert not federation.server.asked


def test_a_token_that_says_nothing_is_asked_about(federation: Federation) -> None:
    server = federation.server
    about = {
        "active": True,
        "sub": "u-9",
        "client_id": CLIENT,
        "token_type": "Bearer",
        "name": "olga",
        "email": "o@x",
        "groups": ["a", "b"],
    }
    for token, wrong in {
        "good": {}, "audience": {"client_id": "x", "aud": CLIENT},
    }.items():  # fmt: skip
        server.opaque[token] = {**about, **wrong}
        assert federation.show(token).json["token"]["user"]["name"] == "olga"
    for token, wrong in {
        "inactive": {"active": False}, "inactive too": {"active": "true"}, "another's": {"client_id": "another"},
        "another audience": {"aud": "another"}, "another issuer": {"iss": "https://other.example"}, "old": {"exp": 1},
        "refresh": {"token_type": "refresh_token"}, "nobody's": {"client_id": None},
    }.items():  # fmt: skip
        server.opaque[token.replace(" ", "")] = {**about, **wrong}
        assert federation.show(token.replace(" ", "")).status == 401, token
    refused(federation, "unknown")
    federation.settings(client_secret="wrong")
    assert federation.show("good").status == 503
    federation.settings(client_secret=None)
    refused(federation, "good")


def test_what_stands_in_no_token_is_asked_for(federation: Federation) -> None:
    federation.settings(userinfo=True)
    token = federation.server.token("u-1")
    federation.server.users[token] = {"sub": "u-1", "name": "ursula", "email": "u@x", "groups": ["g"]}
    assert federation.show(token).json["token"]["user"]["name"] == "ursula"
    federation.server.users[token]["sub"] = "u-2"
    refused(federation, token, "another user")
    refused(federation, federation.server.token("u-3"))


def test_a_certificate_must_be_signed_by_who_the_operator_names(federation: Federation, tls_provider: OpenIdServer) -> None:
    federation.settings(issuer=tls_provider.issuer)
    answer = federation.login(iss=tls_provider.issuer)
    assert answer.status == 503 and "certificate" in answer.body.decode(), answer
    federation.settings(issuer=tls_provider.issuer, authorities=tls_provider.certificate)
    assert federation.show(tls_provider.token(name="alice", email="a@x", groups=["g"])).status == 201


def test_secrets_and_tokens_are_not_logged(federation: Federation, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    token = federation.token(aud="x")
    refused(federation, token)
    federation.login(name="nobody")
    assert token not in caplog.text and "the secret of the client" not in caplog.text
    asked = provider_requests.Question(address="https://x", form={"token": "t0p"}, headers={"Authorization": "Basic s3cret"})
    assert "t0p" not in repr(asked) and "s3cret" not in repr(asked)
