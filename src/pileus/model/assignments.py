"""Role assignments: who has which role where."""

from enum import StrEnum

from pileus.model.base import Model


class Actor(StrEnum):
    """What a role is given to."""

    USER = "user"
    GROUP = "group"


class Target(StrEnum):
    """What a role is given on."""

    PROJECT = "project"
    DOMAIN = "domain"
    SYSTEM = "system"


SYSTEM_ALL = "all"
"""The id of the only system target."""


class Assignment(Model, frozen=True, kw_only=True):
    """An actor has a role on a target; `inherited`: not there, but on all projects below."""

    actor: Actor
    actor_id: str
    target: Target
    target_id: str
    role_id: str
    inherited: bool = False


class EffectiveAssignment(Model, frozen=True, kw_only=True):
    """A role that a user really has, and the assignment that it comes from; `prior_role_id` is the role that implied it."""

    user_id: str
    target: Target
    target_id: str
    role_id: str
    source: Assignment
    prior_role_id: str | None = None
