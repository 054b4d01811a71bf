"""What must be true of a cloud: small pure functions over a World, each with a name, a sentence, evidence, and a repair where that is safe.

`world.py` is what they look at, gathered by `store/world.py`; `invariant.py` is what they are made of; `repairs.py` describes what may be
done (`store/repairs.py` does it). Then a file for each subject: servers, guests, placement, hosts, migrations, networks, ports, routers,
images, identity; and `references.py`, for what one table's rows say of another's.
Called by `cli/verify.py`, by `reconcile/verification.py` in the background, and by tests after whatever they did to a cloud.
No invariant looks at a pair of everything: each is linear in the world, which indexes itself once.
What is in motion is not broken: an invariant leaves out what the records say is under way, and a breach counts when it lasts.
"""

from pileus.core.verify import guests, hosts, identity, images, migrations, networks, placement, ports, references, routers, servers
from pileus.core.verify.invariant import Breach, Finding, Invariant, lasting
from pileus.core.verify.world import HeldLease, Taken, View, World

SUBJECTS = (guests, servers, migrations, placement, hosts, networks, ports, routers, images, identity, references)
INVARIANTS: list[Invariant] = [one for subject in SUBJECTS for one in subject.INVARIANTS]


def examine(world: World) -> list[Breach]:
    """Every breach of every invariant."""
    return [breach for one in INVARIANTS for breach in one.breaches(world)]


def breaches(world: World) -> list[tuple[str, str]]:
    """(invariant's name, evidence) of every breach."""
    return [(one.name, one.evidence) for one in examine(world)]


__all__ = [
    "INVARIANTS", "SUBJECTS", "Breach", "Finding", "HeldLease", "Invariant", "Taken", "View", "World", "breaches", "examine", "lasting",
]  # fmt: skip
