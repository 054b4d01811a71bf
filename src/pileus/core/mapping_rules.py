"""What the rules of a mapping may look like: what must hold of an identity provider's attributes, and what a user is here then."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pileus.model.base import Model
from pileus.model.errors import Invalid

VERSIONS = ("1.0", "2.0", "3.0")
"""2.0: projects name their domains. 3.0: projects may come as JSON."""


class MappedDomain(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A domain by id or name."""

    id: str | None = None
    name: str | None = None


class MappedUser(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who it is here."""

    id: str | None = None
    name: str | None = None
    email: str | None = None
    domain: MappedDomain | None = None
    type: Literal["ephemeral", "local"] | None = None


class MappedRole(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role by its name."""

    name: str


class MappedProject(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project in which the user gets roles."""

    name: str
    roles: list[MappedRole]
    domain: MappedDomain | None = None


class MappedGroup(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group by id, or by name and domain."""

    id: str | None = None
    name: str | None = None
    domain: MappedDomain | None = None


class Local(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of what the user is here."""

    user: MappedUser | None = None
    group: MappedGroup | None = None
    groups: str | None = None
    group_ids: str | None = None
    domain: MappedDomain | None = None
    projects: list[MappedProject] | None = None
    projects_json: str | None = None


class Remote(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold of one attribute, or which of its values count: one of the four lists at most."""

    type: str
    any_one_of: list[Any] | None = None
    not_any_of: list[Any] | None = None
    blacklist: list[Any] | None = None
    whitelist: list[Any] | None = None
    regex: bool | None = None


class Rule(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When everything remote holds, the user is what stands under local."""

    local: list[Local]
    remote: Annotated[list[Remote], Meta(min_length=1)]


Rules = Annotated[list[Rule], Meta(min_length=1)]


def check_rules(given: Any, version: str) -> None:
    """Invalid for what is no list of rules of that version."""
    if version not in VERSIONS:
        raise Invalid(f"schema_version must be one of {', '.join(VERSIONS)}.", field="schema_version")
    try:
        rules = msgspec.convert(given, Rules)
    except msgspec.ValidationError as error:
        raise Invalid(f"Invalid input: {error} (in mapping.rules)", field="rules") from error
    for number, rule in enumerate(rules):
        for remote in rule.remote:
            _check_remote(remote, number)
        for local in rule.local:
            _check_local(local, number, version)


def _check_remote(remote: Remote, number: int) -> None:
    lists = [one for one in (remote.any_one_of, remote.not_any_of, remote.blacklist, remote.whitelist) if one is not None]
    if len(lists) > 1 or (remote.regex is not None and not lists):
        raise Invalid(
            f"Invalid input: rule {number} has more than one of any_one_of, not_any_of, blacklist and whitelist for {remote.type}, or "
            "regex without any of them.",
            field="rules",
        )


def _check_local(local: Local, number: int, version: str) -> None:
    group = local.group
    if group is not None and ((group.id is None) == (group.name is None) or (group.name is None) != (group.domain is None)):
        raise Invalid(f"Invalid input: the group of rule {number} must be named by its id, or by its name and domain.", field="rules")
    if version == "1.0" and any(project.domain is not None for project in local.projects or []):
        raise Invalid(f"Invalid input: projects of rule {number} name domains, which needs schema_version 2.0.", field="rules")
    if version != "3.0" and local.projects_json is not None:
        raise Invalid(f"Invalid input: rule {number} has projects_json, which needs schema_version 3.0.", field="rules")
