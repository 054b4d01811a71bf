"""Which requests an access rule is about."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pileus.core.access_rules import permitted

CASES = [
    ("/v2.1/servers", "/v2.1/servers", True),
    ("/v2.1/servers", "/v2.1/servers/1", False),
    ("/v2.1/servers/*", "/v2.1/servers/1", True),
    ("/v2.1/servers/*", "/v2.1/servers/1/ips", False),
    ("/v2.1/servers/*/ips", "/v2.1/servers/1/ips", True),
    ("/v2.1/servers/{server_id}/ips", "/v2.1/servers/1/ips", True),
    ("/v2.1/servers/{server_id}/ips", "/v2.1/servers//ips", False),
    ("/v2.1/**", "/v2.1/servers/1/ips", True),
    ("/v2.1/**", "/v3/servers", False),
    ("/v2.1/a.b", "/v2.1/aXb", False),
    ("/v2.1/{half", "/v2.1/{half", True),
    ("/v2.1/*x", "/v2.1/yx", True),
]


@pytest.mark.parametrize("pattern, path, right", CASES)
def test_a_path_is_matched(pattern: str, path: str, right: bool) -> None:
    assert permitted([("compute", "GET", pattern)], "compute", "GET", path) is right


def test_service_and_method_are_those_of_the_rule() -> None:
    rules = [("compute", "GET", "/**"), ("image", "PUT", "/**")]
    assert permitted(rules, "image", "PUT", "/x")
    assert not permitted(rules, "image", "GET", "/x")
    assert not permitted([], "image", "GET", "/x")


@given(some.text(max_size=30))
def test_any_text_is_a_pattern(text: str) -> None:
    assert permitted([("s", "GET", f"/{text}")], "s", "GET", f"/{text.replace('*', 'x')}") or "{" in text or "*" in text
