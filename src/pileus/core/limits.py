"""What unified limits may say of a tree of projects: the enforcement models of Keystone."""

from collections.abc import Callable, Iterable

from pileus.model.limits import QuotaSource

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


def unregistered(source: QuotaSource) -> Callable[[str], int]:
    """What a resource is limited to that nobody has registered, by its name."""

    def limit(name: str) -> int:
        listed = source.listed is None or name in source.listed
        return 0 if listed == (source.strategy == "require") else UNLIMITED

    return limit
