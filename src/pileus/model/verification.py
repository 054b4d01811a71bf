"""What became of a look at all invariants in the background."""

from pileus.model.base import Model


class NamedBreach(Model, frozen=True, kw_only=True):
    """An invariant that does not hold, and what shows it."""

    name: str
    evidence: str
    repairable: bool = False


class Verification(Model, frozen=True, kw_only=True):
    """The result of a cluster's last look: `at` in seconds since the epoch, `seconds` from its beginning to its end.

    `note` says why nothing was looked at, or that breaches were left out of the list; else it is empty.
    """

    cluster: str
    at: float
    seconds: float = 0.0
    invariants: int = 0
    breaches: list[NamedBreach] = []
    note: str = ""
