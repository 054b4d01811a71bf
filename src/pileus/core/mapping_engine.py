"""What a mapping's rules make of what an identity provider says of a user: who it is here, its groups, its projects with roles.

As the released Keystone has it, for the three versions of the rules. Two things are other, because those who are described here may have
chosen the words themselves: several values of one attribute stay several values (they never pass through a text that is read again), and
an attribute of which a rule leaves nothing names nobody.
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Any, cast
from urllib.parse import quote

import msgspec

from pileus.core.mapping_rules import MappedDomain, MappedProject, MappedUser
from pileus.model.base import Model
from pileus.model.errors import Unauthorized

Assertion = Mapping[str, Sequence[str]]
"""Attribute -> its values."""
SEPARATOR = ";"
LONGEST_SEARCHED = 1024
"""Characters of a value that a regular expression is tried on: whoever chose it must not keep us busy."""
PROJECTS = msgspec.json.Decoder(list[MappedProject])


class GroupName(Model, frozen=True, kw_only=True):
    """A group by its name and domain."""

    name: str
    domain: MappedDomain


class Mapped(Model, frozen=True, kw_only=True):
    """Who it is here. `user.type` is set; the domain of a user or project that has none is the identity provider's."""

    user: MappedUser
    group_ids: list[str] = []
    groups: list[GroupName] = []
    projects: list[MappedProject] = []


class _NothingLeft(Unauthorized):
    """The rule leaves no value of an attribute that it wants to use."""


def values_of(attributes: Mapping[str, str]) -> dict[str, list[str]]:
    """Attributes as a web server hands them over: one text each, with a semicolon between values."""
    return {name: text.split(SEPARATOR) for name, text in attributes.items()}


def evaluate(rules: Sequence[dict[str, Any]], version: str, assertion: Assertion) -> Mapped:
    """What all rules that apply say together; Unauthorized when none does, or when one can't be followed."""
    said: list[_Local] = []
    for number, rule in enumerate(rules):
        found = _found(rule["remote"], assertion)
        if found is not None:
            said += [_Local(number, version, local, found) for local in rule["local"]]
    if not said:
        raise Unauthorized("None of the mapping's rules applies to what the identity provider says of the user.")
    user = next((given for one in said if (given := one.user()) is not None), MappedUser())
    if version != "1.0" and user.domain is None:
        user = msgspec.structs.replace(user, domain=said[-1].domain())
    groups = {(one.name, one.domain.id, one.domain.name): one for local in said for one in local.groups()}
    return Mapped(
        user=msgspec.structs.replace(user, type=user.type or "ephemeral"),
        group_ids=list(dict.fromkeys(one for local in said for one in local.group_ids())),
        groups=list(groups.values()),
        projects=next((one.projects() for one in reversed(said) if one.has_projects), list[MappedProject]()),
    )


def unique_id(user: MappedUser, remote_user: str | None) -> tuple[str, str]:
    """The id by which the identity provider knows a user, safe in a URL, and the user's name; Unauthorized when it says neither."""
    name = user.name or remote_user
    key = user.id or name
    if not key:
        raise Unauthorized("The mapping gives neither a name nor an id of the user.")
    return quote(key), name or key


# What must hold.


def _found(remote: Iterable[dict[str, Any]], assertion: Assertion) -> list[Sequence[str]] | None:
    """The values that `{0}`, `{1}`, ... stand for; None when the rule doesn't apply."""
    found: list[Sequence[str]] = []
    for wanted in remote:
        values = assertion.get(wanted["type"])
        if not values:
            return None
        regex = bool(wanted.get("regex"))
        if (listed := wanted.get("any_one_of")) is not None:
            if not _matching(listed, values, regex):
                return None
        elif (listed := wanted.get("not_any_of")) is not None:
            if _matching(listed, values, regex):
                return None
        elif (listed := wanted.get("blacklist")) is not None:
            struck = _matching(listed, values, regex)
            found.append([one for one in dict.fromkeys(values) if one not in struck])
        elif (listed := wanted.get("whitelist")) is not None:
            found.append(_matching(listed, values, regex))
        else:
            found.append(values)
    return found


def _matching(listed: Sequence[Any], values: Sequence[str], regex: bool) -> list[str]:
    """The values that are listed, or in which one of the expressions is found, in their order."""
    if not regex:
        return [one for one in dict.fromkeys(values) if one in listed]
    if any(len(one) > LONGEST_SEARCHED for one in values):
        raise Unauthorized(f"A value is longer than the {LONGEST_SEARCHED} characters that a regular expression is tried on.")
    patterns = [_compiled(one) for one in listed if isinstance(one, str)]
    return [one for one in dict.fromkeys(values) if any(pattern.search(one) for pattern in patterns)]


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise Unauthorized(f"The mapping has a regular expression that is none: {text!r} ({error}).") from error


# What is said then.


class _Local:
    """One part of what a rule says, with the values that its placeholders stand for."""

    def __init__(self, rule: int, version: str, local: dict[str, Any], found: list[Sequence[str]]) -> None:
        self._rule = rule
        self._version = version
        self._local = local
        self._found = found
        self._check(local)
        self.has_projects = "projects" in local or "projects_json" in local

    def _check(self, given: Any) -> None:
        """A rule that can't be followed lets nobody in, whether or not the part that is wrong counts."""
        if isinstance(given, dict | list):
            several = cast(Iterable[Any], given.values() if isinstance(given, dict) else given)
            for one in several:
                self._check(one)
        else:
            self._parsed(str(given))

    def user(self) -> MappedUser | None:
        """Who it is; None when this part doesn't say."""
        given = self._local.get("user")
        return self._convert(self._filled(given), MappedUser) if given else None

    def domain(self) -> MappedDomain | None:
        """The domain of what stands in this part without one."""
        given = self._local.get("domain")
        return self._convert(self._filled(given), MappedDomain) if given else None

    def group_ids(self) -> list[str]:
        """Groups by id."""
        group = self._local.get("group", {})
        single = self._several(group["id"]) if "id" in group else []
        return single + (self._several(self._local["group_ids"]) if "group_ids" in self._local else [])

    def groups(self) -> list[GroupName]:
        """Groups by name."""
        groups: list[GroupName] = []
        group = self._local.get("group", {})
        if "name" in group:
            try:
                groups.append(self._convert(self._filled(group), GroupName))
            except _NothingLeft:
                pass  # of a group that is not named there is none
        if "groups" in self._local:
            names, domain = self._several(self._local["groups"]), self.domain()
            if not names and domain is None:
                raise self._broken("groups need a domain beside them")
            groups += [self._group(name, domain) for name in names]
        return groups

    def _group(self, name: str, domain: MappedDomain | None) -> GroupName:
        if name.startswith("JSON:"):  # a group with a domain of its own
            try:
                return msgspec.json.decode(name.removeprefix("JSON:"), type=GroupName)
            except msgspec.DecodeError as error:
                raise self._broken(f"a group is no JSON object with name and domain: {error}") from error
        if domain is None:
            raise self._broken("groups need a domain beside them")
        return GroupName(name=name, domain=domain)

    def projects(self) -> list[MappedProject]:
        """Projects with roles."""
        projects = [self._convert(self._filled(one), MappedProject) for one in self._local.get("projects", [])]
        given: str = self._local.get("projects_json", "[]")
        for text in self._several(f"{{{given}}}" if given.isdecimal() else given):  # the number alone will do there
            try:
                projects += PROJECTS.decode(text)
            except msgspec.DecodeError as error:
                raise self._broken(f"projects_json is no list of projects with roles: {error}") from error
        if self._version == "1.0":
            return projects
        domain = self.domain()
        return [msgspec.structs.replace(one, domain=one.domain or domain) for one in projects]

    def _convert(self, given: Any, kind: type[Any]) -> Any:
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            raise self._broken(str(error)) from error

    def _broken(self, words: str) -> Unauthorized:
        return Unauthorized(f"Rule {self._rule} of the mapping can't be followed: {words}.")

    def _filled(self, given: Any) -> Any:
        """The same with every placeholder replaced; several values of one stand as a list would be written."""
        if isinstance(given, dict):
            return {name: self._filled(value) for name, value in given.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(given, list):
            return [self._filled(one) for one in given]  # pyright: ignore[reportUnknownVariableType]
        return self._text(str(given))

    def _text(self, template: str) -> str:
        parts: list[str] = []
        for literal, values in self._parsed(template):
            parts.append(literal)
            if values is not None:
                if not values:
                    raise _NothingLeft(f"rule {self._rule} leaves no value for {template!r}")
                parts.append(values[0] if len(values) == 1 else str(list(values)))
        return "".join(parts)

    def _several(self, template: str) -> list[str]:
        """A text that stands for several: a placeholder alone for each of its values; a list in Python's notation for its items."""
        parsed = self._parsed(template)
        if len(parsed) == 1 and parsed[0][0] == "" and parsed[0][1] is not None:
            return list(parsed[0][1])
        try:
            written: Any = ast.literal_eval(template)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            written = None
        items = cast(list[Any], written) if isinstance(written, list) else []
        if isinstance(written, list) and all(isinstance(one, str) for one in items):
            return [value for one in items for value in self._several(one)]
        try:
            return [self._text(template)]
        except _NothingLeft:
            return []

    def _parsed(self, template: str) -> list[tuple[str, Sequence[str] | None]]:
        """Literal texts, each with the values of the placeholder behind it."""
        parsed: list[tuple[str, Sequence[str] | None]] = []
        try:
            for literal, field, form, conversion in Formatter().parse(template):
                if field is not None and (form or conversion or not field.isdecimal() or int(field) >= len(self._found)):
                    raise self._broken(f"nothing stands for {{{field}}} in {template!r}")
                parsed.append((literal, None if field is None else self._found[int(field)]))
        except ValueError as error:
            raise self._broken(f"{template!r} has a brace that is not closed, or not opened") from error
        return parsed
