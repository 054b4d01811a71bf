"""Counters and histograms, and their text as Prometheus reads it (exposition format 0.0.4)."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping

from pileus.model.base import Model

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the classes of a time."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(Model, frozen=True, kw_only=True):
    """One value. `suffix` follows the family's name (`_bucket`, `_sum`, `_count` of a histogram)."""

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Family(Model, frozen=True, kw_only=True):
    """The samples of one name. `kind` is counter, gauge or histogram. Labels never hold an id: their values are few."""

    name: str
    kind: str
    help: str
    samples: list[Sample]


class Histogram:
    """How many values were how large. `observe` costs a quarter of a microsecond."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # of each class alone; the last is what is larger than every bound
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def samples(self, **labels: str) -> list[Sample]:
        """As Prometheus wants it: each bucket counts what is at most its bound."""
        found: list[Sample] = []
        below = 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            below += count
            found.append(Sample(suffix="_bucket", labels={**labels, "le": _number(bound)}, value=below))
        return [*found, Sample(suffix="_sum", labels=labels, value=self.sum), Sample(suffix="_count", labels=labels, value=below)]


def counter(name: str, help: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Family:
    """A family of counters."""
    return Family(name=name, kind="counter", help=help, samples=[Sample(labels=labels, value=value) for labels, value in samples])


def gauge(name: str, help: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Family:
    """A family of gauges."""
    return Family(name=name, kind="gauge", help=help, samples=[Sample(labels=labels, value=value) for labels, value in samples])


def histogram(name: str, help: str, parts: Iterable[tuple[Mapping[str, str], Histogram]]) -> Family:
    """A family of histograms."""
    return Family(name=name, kind="histogram", help=help, samples=[one for labels, part in parts for one in part.samples(**labels)])


def render(families: Iterable[Family]) -> str:
    """The text: a name's samples stand together, whoever gave them."""
    together: dict[str, tuple[Family, list[Sample]]] = {}
    for family in families:
        together.setdefault(family.name, (family, []))[1].extend(family.samples)
    lines: list[str] = []
    for name, (family, samples) in together.items():
        if samples:
            help = family.help.replace("\\", r"\\").replace("\n", r"\n")
            lines += [f"# HELP {name} {help}", f"# TYPE {name} {family.kind}"]
            lines += [f"{name}{one.suffix}{_labels(one.labels)} {_number(one.value)}" for one in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if not math.isnan(value) and value == int(value) else repr(float(value)).replace("nan", "NaN")
