"""What unified limits may say of a tree of projects: the enforcement models of Keystone."""

from collections.abc import Iterable

MODELS = {
    "flat": "Each limit stands for itself: where a project is in the hierarchy makes no difference.",
    "strict_two_level": "Projects lie directly in domains, two levels in all; no project's limit is above its domain's.",
}
UNLIMITED = -1


def exceeds(one: int, other: int) -> bool:
    """Whether a limit allows more than another."""
    if UNLIMITED in (one, other):
        return one == UNLIMITED and other != UNLIMITED
    return one > other


def fits(limit: int, above: int | None, below: Iterable[int]) -> bool:
    """Whether a limit is within the one above it (None: there is none), and not less than any below it."""
    return not (above is not None and exceeds(limit, above)) and not any(exceeds(child, limit) for child in below)
