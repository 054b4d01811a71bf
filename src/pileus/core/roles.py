"""What roles mean: the roles that others imply, and the assignments that really hold."""

from collections.abc import Iterable, Mapping, Set

from pileus.model.assignments import Actor, Assignment, EffectiveAssignment, Target

Implications = Mapping[str, Set[str]]
"""Prior role id -> the ids of the roles that it implies directly."""


def with_implied(role_ids: Iterable[str], implications: Implications) -> set[str]:
    """The roles and all that they imply, over any number of steps; a cycle does no harm."""
    found: set[str] = set()
    waiting = list(role_ids)
    while waiting:
        role_id = waiting.pop()
        if role_id not in found:
            found.add(role_id)
            waiting.extend(implications.get(role_id, frozenset()))
    return found


def would_cycle(prior_id: str, implied_id: str, implications: Implications) -> bool:
    """Whether `prior implies implied` would make a role imply itself."""
    return prior_id in with_implied([implied_id], implications)


def effective(
    assignments: Iterable[Assignment],
    members: Mapping[str, Iterable[str]],
    below: Mapping[str, Iterable[str]],
    implications: Implications,
) -> list[EffectiveAssignment]:
    """Each role of each user, once for each assignment that gives it.

    `members`: group id -> user ids. `below`: domain or project id -> ids of the projects that inherit from it.
    """
    found: list[EffectiveAssignment] = []
    for one in assignments:
        users = [one.actor_id] if one.actor is Actor.USER else list(members.get(one.actor_id, ()))
        targets = (
            [(Target.PROJECT, project_id) for project_id in below.get(one.target_id, ())]
            if one.inherited
            else [(one.target, one.target_id)]
        )
        implied = with_implied([one.role_id], implications) - {one.role_id}
        roles: list[tuple[str, str | None]] = [(one.role_id, None), *((role_id, one.role_id) for role_id in sorted(implied))]
        found.extend(
            EffectiveAssignment(user_id=user_id, target=target, target_id=target_id, role_id=role_id, source=one, prior_role_id=prior)
            for user_id in users
            for target, target_id in targets
            for role_id, prior in roles
        )
    return found
