"""What an invariant is, and how all of them are looked at: a breach has evidence and, where that is safe, a repair."""

from collections.abc import Callable, Iterable, Iterator

from pileus.core.verify.repairs import Repair
from pileus.core.verify.world import World
from pileus.model.base import Model


class Finding(Model, frozen=True, kw_only=True):
    """One line of evidence. It names what is broken, and says nothing that changes from one look to the next."""

    evidence: str
    repair: Repair | None = None


class Breach(Model, frozen=True, kw_only=True):
    """A finding, with the invariant that it breaks."""

    name: str
    sentence: str
    evidence: str
    repair: Repair | None = None


Findings = Iterator[Finding]
Check = Callable[[World], Iterable[Finding]]


class Invariant(Model, frozen=True, kw_only=True):
    """One rule: its name, the sentence that must be true, and the check that finds each breach of it."""

    name: str
    sentence: str
    check: Check
    repairable: bool = False  # whether its findings may carry a repair

    def breaches(self, world: World) -> list[Breach]:
        """Every breach of it."""
        return [Breach(name=self.name, sentence=self.sentence, evidence=found.evidence, repair=found.repair) for found in self.check(world)]


def invariants(*rows: tuple[Check, str], repairable: Iterable[Check] = ()) -> list[Invariant]:
    """Invariants named after their checks."""
    mends = {check.__name__ for check in repairable}
    return [Invariant(name=check.__name__, sentence=sentence, check=check, repairable=check.__name__ in mends) for check, sentence in rows]


def lasting(earlier: list[Breach], later: list[Breach]) -> list[Breach]:
    """Those that are still there: what was in motion between two looks is not broken."""
    there = {(one.name, one.evidence) for one in earlier}
    return [one for one in later if (one.name, one.evidence) in there]
