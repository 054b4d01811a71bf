"""How long steps of one kind waited and took, and what of them is left to do."""

from pileus.core.metrics import Histogram
from pileus.model.base import Model


class StepTimes:
    """Of one kind. `waited`: from the wake-up to the step's begin; `took`: the step itself."""

    __slots__ = ("failed", "took", "waited")

    def __init__(self) -> None:
        self.waited = Histogram()
        self.took = Histogram()
        self.failed = 0


class Backlog(Model, frozen=True):
    """Of one kind, at this moment: steps that wait for a worker, run, are due later, and those of all that failed the last time."""

    waiting: int = 0
    running: int = 0
    later: int = 0
    failing: int = 0
