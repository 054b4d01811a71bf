"""Which methods together are enough for a user: the rules that an administrator has set for it."""

from collections.abc import Collection
from typing import Any

import msgspec

Rules = list[list[str]]


def problem(given: Any) -> str:
    """What is wrong with a value of `multi_factor_auth_rules`; empty when it is a list of lists of names, none of them twice."""
    try:
        rules = msgspec.convert(given, Rules)
    except msgspec.ValidationError:
        return "a list of lists of methods is needed"
    if not all(rule and all(rule) for rule in rules):
        return "each rule is a list of at least one method"
    if any(len(set(rule)) < len(rule) for rule in rules):
        return "a rule names a method twice"
    if len({frozenset(rule) for rule in rules}) < len(rules):
        return "two rules are the same"
    return ""


def rules_of(options: dict[str, Any], known: Collection[str]) -> Rules:
    """The rules that count for a user, without methods that nobody can use here; none when they are switched off."""
    if options.get("multi_factor_auth_enabled") is False:
        return []
    given: Rules = options.get("multi_factor_auth_rules") or []
    usable = [[name for name in rule if name in known] for rule in given]
    return [rule for rule in usable if rule]


def enough(rules: Rules, methods: Collection[str]) -> bool:
    """Whether the methods that were shown meet one of the rules, or there is none."""
    return not rules or any(set(rule) <= set(methods) for rule in rules)


def could_follow(rules: Rules, methods: Collection[str]) -> Rules:
    """The rules of which a part was shown: what is told to who has to go on."""
    return [rule for rule in rules if set(rule) & set(methods)]
