"""A strict reader of Prometheus's text format 0.0.4, for tests: whatever Prometheus would refuse or misread is an AssertionError."""

import math
import re
from dataclasses import dataclass, field

LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"')
LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
Labels = tuple[tuple[str, str], ...]


@dataclass
class Read:
    """A family. Of a histogram `buckets`, `sums` and `counts` hold the samples, else `values`."""

    kind: str
    values: dict[Labels, float] = field(default_factory=dict)
    buckets: dict[Labels, float] = field(default_factory=dict)
    sums: dict[Labels, float] = field(default_factory=dict)
    counts: dict[Labels, float] = field(default_factory=dict)

    def total(self, **labels: str) -> float:
        """The sum of the values whose labels are these, among others."""
        return sum(value for key, value in {**self.values, **self.counts}.items() if labels.items() <= dict(key).items())


def parse(text: str) -> dict[str, Read]:
    """The families by name."""
    assert text.endswith("\n")
    found: dict[str, Read] = {}
    current, helped = "", ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped = line.split(" ")[2]
            assert helped not in found, f"{helped} stands in two places"
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current == helped and kind in ("counter", "gauge", "histogram"), line
            assert kind != "counter" or current.endswith("_total"), f"a counter's name ends with _total: {current}"
            found[current] = Read(kind)
        elif line:
            _take(found[current], current, line)
    for name, one in found.items():
        _check(name, one)
    return found


def _take(family: Read, name: str, line: str) -> None:
    match = LINE.fullmatch(line)
    assert match, f"not a sample: {line!r}"
    assert match[1].startswith(name), f"{line!r} stands below {name}"
    inside = match[2] or ""
    labels = tuple((key, value.replace(r"\"", '"').replace(r"\n", "\n").replace("\\\\", "\\")) for key, value in LABEL.findall(inside))
    assert LABEL.sub("", inside).strip(",") == "", f"not labels: {inside!r}"
    assert len(dict(labels)) == len(labels), f"a label stands twice: {line!r}"
    suffix = match[1][len(name) :]
    place = {"": family.values, "_bucket": family.buckets, "_sum": family.sums, "_count": family.counts}[suffix]
    assert (family.kind == "histogram") == (suffix != ""), line
    assert labels not in place, f"a sample stands twice: {line!r}"
    place[labels] = float(match[3])


def _check(name: str, family: Read) -> None:
    if family.kind == "counter":
        assert all(value >= 0 for value in family.values.values()), name
    if family.kind != "histogram":
        assert family.values, name
        return
    assert family.sums.keys() == family.counts.keys()
    for labels, count in family.counts.items():
        mine = [(float(dict(key)["le"]), value) for key, value in family.buckets.items() if key[:-1] == labels and key[-1][0] == "le"]
        assert mine == sorted(mine) and [value for _, value in mine] == sorted(value for _, value in mine), f"{name}{labels}"
        assert mine[-1] == (math.inf, count), f"{name}{labels}"
