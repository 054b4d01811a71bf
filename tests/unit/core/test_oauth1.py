"""Signatures of OAuth 1, by the examples of RFC 5849."""

from typing import Any

import msgspec
import pytest

from pileus.core.oauth1 import SKEW, Signed, base_string, check_time, demand, is_right, read_header
from pileus.model.errors import Invalid, Unauthorized

HEADER = (
    'OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="nnch734d00sl2jdk", oauth_signature_method="HMAC-SHA1",'
    ' oauth_timestamp="137131202", oauth_nonce="chapoH", oauth_signature="MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D"'
)
SECRET, TOKEN_SECRET = "kd94hf93k423kf44", "pfkkdhi9sl3r4s00"
QUERIES = [("file", "vacation.jpg"), ("size", "original")]
EXAMPLE = Signed(method="GET", url="http://photos.example.net/photos", queries=QUERIES, header=read_header(HEADER))


def with_header(**changes: Any) -> Signed:
    return msgspec.structs.replace(EXAMPLE, header={**EXAMPLE.header, **changes})


def test_the_signature_of_the_standard_is_right() -> None:
    demand(EXAMPLE.header, ())
    assert is_right(EXAMPLE, SECRET, TOKEN_SECRET)


@pytest.mark.parametrize(
    "changed",
    [
        msgspec.structs.replace(EXAMPLE, method="POST"),
        msgspec.structs.replace(EXAMPLE, url="http://photos.example.net/other"),
        msgspec.structs.replace(EXAMPLE, url="https://photos.example.net/photos"),
        msgspec.structs.replace(EXAMPLE, queries=[("a", "b")]),
        with_header(oauth_nonce="x"),
        with_header(oauth_signature="é"),
        with_header(oauth_signature_method="HMAC-SHA256"),
    ],
)
def test_a_request_that_was_changed_is_not(changed: Signed) -> None:
    assert not is_right(changed, SECRET, TOKEN_SECRET)


def test_another_secret_is_not_right() -> None:
    assert not is_right(EXAMPLE, SECRET, "")
    assert not is_right(EXAMPLE, "other", TOKEN_SECRET)


def test_the_base_string_is_that_of_the_standard() -> None:
    header = {
        "oauth_consumer_key": "9djdj82h48djs9d2",
        "oauth_token": "kkk9d7dh3k39sjv7",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": "137131201",
        "oauth_nonce": "7d8f3e4a",
        "oauth_signature": "bYT5CMsGcbgUdFHObYMEfcx6bsw=",
    }
    queries = [("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b"), ("c2", ""), ("a3", "2 q")]
    text = base_string(Signed(method="POST", url="HTTP://EXAMPLE.com:80/request", queries=queries, header=header))
    assert text == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26"
        "oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


def test_a_port_that_is_not_the_usual_one_counts() -> None:
    assert "%3A5000%2F" in base_string(Signed(method="GET", url="http://h:5000/", queries=[], header={}))


@pytest.mark.parametrize("text", ["", "Basic x", "OAuth", "OAuth x", 'OAuth a="1", a="2"'])
def test_what_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_header(text)


@pytest.mark.parametrize("change", [{"oauth_signature_method": "PLAINTEXT"}, {"oauth_version": "2.0"}, {"oauth_nonce": ""}])
def test_what_can_not_be_checked_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        demand({**EXAMPLE.header, **change}, ())


@pytest.mark.parametrize(("text", "right"), [("137131200", True), ("137131801", False), ("137130599", False), ("-1", False), ("²", False)])
def test_a_request_of_another_time_is_refused(text: str, right: bool) -> None:
    now = 137131200.0
    assert SKEW == 600.0
    if right:
        check_time({"oauth_timestamp": text}, now)
    else:
        with pytest.raises(Unauthorized):
            check_time({"oauth_timestamp": text}, now)
