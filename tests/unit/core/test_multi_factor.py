"""The rules that say which methods are enough."""

from typing import Any

import pytest

from pileus.core.multi_factor import could_follow, enough, problem, rules_of

KNOWN = {"password", "totp", "token"}
RULES = [["password", "totp"], ["token", "totp"]]


@pytest.mark.parametrize("value", [{}, "x", [[]], ["password"], [["password", "password"]], [["a", "b"], ["b", "a"]], [[1]], [[""]]])
def test_what_is_no_list_of_lists_is_named(value: Any) -> None:
    assert problem(value)


@pytest.mark.parametrize("value", [[], [["password"]], RULES])
def test_what_is_one_is_taken(value: Any) -> None:
    assert problem(value) == ""


def test_rules_count_unless_they_are_switched_off() -> None:
    assert rules_of({"multi_factor_auth_rules": RULES}, KNOWN) == RULES
    assert rules_of({"multi_factor_auth_rules": RULES, "multi_factor_auth_enabled": False}, KNOWN) == []
    assert rules_of({}, KNOWN) == []


def test_a_method_that_nobody_can_use_locks_nobody_out() -> None:
    assert rules_of({"multi_factor_auth_rules": [["retina"], ["password", "retina"]]}, KNOWN) == [["password"]]


@pytest.mark.parametrize(
    ("methods", "right"), [(["password"], False), (["password", "totp"], True), (["token", "totp", "password"], True), (["token"], False)]
)
def test_one_whole_rule_is_enough(methods: list[str], right: bool) -> None:
    assert enough(RULES, methods) == right
    assert enough([], methods)


def test_only_rules_that_were_begun_are_shown() -> None:
    assert could_follow(RULES, ["password"]) == [["password", "totp"]]
    assert could_follow(RULES, ["totp"]) == RULES
