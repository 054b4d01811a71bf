"""The paths of access rules, which are users' patterns: they match what they say, in good time."""

import time

import pytest

from pileus.core.access_rules import matches


@pytest.mark.parametrize(
    ("pattern", "path", "right"),
    [
        ("/v2.1/servers", "/v2.1/servers", True), ("/v2.1/servers", "/v2.1/servers/1", False), ("/v2.1/servers/*", "/v2.1/servers/1", True),
        ("/v2.1/servers/*", "/v2.1/servers/", False), ("/v2.1/servers/*", "/v2.1/servers/1/action", False), ("/**", "/a/b", True),
        ("/v2.1/servers/{id}/ips", "/v2.1/servers/1/ips", True), ("/v2.1/**/ips", "/v2.1/servers/1/ips", True), ("/a*", "/a", False),
        ("/v2.1", "/v2x1", False),
    ],
)  # fmt: skip
def test_a_path_is_meant_or_not(pattern: str, path: str, right: bool) -> None:
    assert matches(pattern, path) is right


@pytest.mark.parametrize("pattern", ["/" + "*a" * 60 + "b", "/" + "**a" * 40 + "b", "/" + "{a}" * 40 + "/"])
def test_no_pattern_takes_long(pattern: str) -> None:
    started = time.monotonic()
    assert not matches(pattern, "/" + "a" * 4000)
    assert not matches(pattern, "/" + "a" * 60000)
    assert time.monotonic() - started < 5
