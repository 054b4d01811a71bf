"""What a provider of OpenID Connect may say of itself, which words of its tokens count, and how they become attributes."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core import openid
from pileus.core.openid import Header, assertion_of, check_address, check_claims, check_introspected, check_login, fits, header_of
from pileus.model.errors import Invalid, Unauthorized

ISSUER, NOW = "https://idp.example", 1000.0


@pytest.mark.parametrize(
    "address",
    [
        "https://idp.example",
        "https://idp.example:8443/realms/a?b=c",
        "https://10.0.0.1/",
        "http://127.0.0.1:9/",
        "http://[::1]/",
        "http://localhost/x",
    ],
)
def test_a_provider_may_lie_anywhere_with_tls_and_on_this_machine_without(address: str) -> None:
    assert check_address(address, "issuer") == address


@pytest.mark.parametrize(
    "address",
    ["http://idp.example", "http://10.0.0.1", "http://localhost.example",
     "file:///etc/passwd", "https://", "https://u:p@x", "https://x/#y", "x",
     "",
     "https://x:0", "https://x:99999", "https://[x", "https://x/\r\nHost: y"],
)  # fmt: skip
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(Invalid):
        check_address(address, "issuer")


def test_what_a_provider_says_of_itself_is_looked_at() -> None:
    good = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys", "something": [1]}
    assert openid.metadata_of(msgspec.json.encode(good), ISSUER).jwks_uri == f"{ISSUER}/keys"
    for wrong in ({**good, "issuer": f"{ISSUER}/"}, {**good, "jwks_uri": "http://idp.example/keys"}, {}, [], {**good, "token_endpoint": 1}):
        with pytest.raises(Invalid):
            openid.metadata_of(msgspec.json.encode(wrong), ISSUER)
    assert openid.discovery(f"{ISSUER}/a/") == f"{ISSUER}/a/.well-known/openid-configuration"


def head(**fields: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(fields)).rstrip(b"=").decode()


def test_a_signed_token_is_told_from_one_that_says_nothing() -> None:
    assert header_of(f"{head(alg='RS256', kid='k')}.x.y") == Header(alg="RS256", kid="k")
    for other in ("", "opaque", "a.b", "a.b.c", "a.b.c.d", f"{head(kid='k')}.x.y", f"{head(alg=1)}.x.y", "é.x.y"):
        assert header_of(other) is None


@given(st.text(max_size=40))
def test_any_text_has_a_header_or_none(text: str) -> None:
    header = header_of(text)
    assert header is None or isinstance(header.alg, str)


def test_a_key_fits_what_it_may_have_signed() -> None:
    rsa, curve = {"kty": "RSA", "kid": "k"}, {"kty": "EC", "crv": "P-256", "kid": "k"}
    assert fits(rsa, Header(alg="RS256", kid="k")) and fits(rsa, Header(alg="PS512")) and fits(curve, Header(alg="ES256"))
    assert not fits(rsa, Header(alg="RS256", kid="other")) and not fits(rsa, Header(alg="ES256", kid="k"))
    assert not fits(curve, Header(alg="ES384")) and not fits(curve, Header(alg="RS256"))
    assert not fits({**rsa, "use": "enc"}, Header(alg="RS256")) and not fits({**rsa, "alg": "RS512"}, Header(alg="RS256"))
    assert not fits({"kty": "oct", "k": "x"}, Header(alg="RS256"))


GOOD = {"iss": ISSUER, "aud": ["c", "d"], "sub": "u", "exp": 2000, "azp": "c", "nonce": "n"}


def test_claims_count_for_their_audience_in_their_time() -> None:
    check_claims(GOOD, ISSUER, ["c"], NOW)
    check_claims({**GOOD, "exp": NOW - 59}, ISSUER, ["c"], NOW)
    check_claims({**GOOD, "nbf": NOW + 59}, ISSUER, ["x", "d"], NOW)
    for wrong in (
        {"exp": NOW - 61},
        {"exp": "2000"},
        {"exp": True},
        {"nbf": NOW + 61},
        {"nbf": "0"},
        {"aud": "x"},
        {"aud": {"c": 1}},
        {"sub": 1},
    ):
        with pytest.raises(Unauthorized):
            check_claims({**GOOD, **wrong}, ISSUER, ["c"], NOW)


def test_an_id_token_is_of_this_client_and_this_login() -> None:
    check_login(GOOD, "c", "n")
    check_login({"aud": "c", "nonce": "n"}, "c", "n")
    for wrong in ({"azp": "d"}, {"azp": None}, {"nonce": "m"}, {"nonce": None}, {"nonce": 1}):
        with pytest.raises(Unauthorized):
            check_login({**GOOD, **wrong}, "c", "n")
    with pytest.raises(Unauthorized):
        check_login({"aud": ["c", "d"], "nonce": "n"}, "c", "n")  # for several, and not said by whom


def test_what_introspection_says_must_be_for_us() -> None:
    check_introspected({"active": True, "client_id": "c"}, ISSUER, ["c"], NOW)
    for wrong in (
        {},
        {"active": True},
        {"active": 1, "client_id": "c"},
        {"active": True, "client_id": "x"},
        {"active": True, "aud": "x", "client_id": "c"},
    ):
        with pytest.raises(Unauthorized):
            check_introspected(wrong, ISSUER, ["c"], NOW)


def test_claims_become_attributes_by_the_names_that_mappings_have() -> None:
    said = assertion_of(
        {"sub": "u", "groups": ["a", "b;c"], "name": "x;y", "admin": True, "n": 3, "realm-access": {"r": [1]}, "none": None, "e": []}
    )
    assert said["OIDC-sub"] == said["OIDC_CLAIM_sub"] == said["HTTP_OIDC_SUB"] == said["REMOTE_USER"] == ["u"]
    assert said["OIDC-groups"] == ["a", "b;c"]  # the name of one group never makes two
    assert said["OIDC-name"] == ["x", "y"] and said["OIDC-admin"] == ["1"] and said["OIDC-n"] == ["3"]
    assert said["HTTP_OIDC_REALM_ACCESS"] == ['{"r":[1]}'] and "OIDC-none" not in said and "OIDC-e" not in said
    assert "OIDC-long" not in assertion_of({"long": "x" * 5000})


def test_no_claim_takes_the_place_of_another() -> None:
    for claims in ({"SUB": "root", "sub": "u"}, {"sub": "u", "Sub": "root"}, {"preferred-username": "root", "preferred_username": "u"}):
        assert "root" not in {value for name, values in assertion_of(claims).items() if name.startswith("HTTP_") for value in values}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@given(st.dictionaries(st.text(max_size=5), JSON))
def test_whatever_is_claimed_attributes_have_texts(claims: dict[str, Any]) -> None:
    assert all(values and all(isinstance(one, str) for one in values) for values in assertion_of(claims).values())
