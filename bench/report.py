"""What was measured, as a table with the promises and OpenStack's figures beside it, as slopes, and as a plot."""

import math
import re
from pathlib import Path
from typing import Any

import msgspec

from bench import plot
from bench.load import Figure

PROMISES = {
    "start to first token": 1.0,
    "idle memory (PSS)": 120.0,
    "import of the cloud role": 0.4,
    "validate a token, not cached, in the process": 0.1,
    "list in detail, 1,000 servers": 15.0,
    "create a port": 3.0,
    "create a network": 3.0,
    "create a server, until ACTIVE": 8.0,
    "burst of 50 servers until ACTIVE": 1.0,
    "allocation candidates over 1,000 providers": 10.0,
}
"""Less than this, on SQLite: docs/SPECIFICATION.md."""
OPENSTACK = {
    "start to first token": 31.6,
    "idle memory (PSS)": 2724.0,
    "list in detail, 1,000 servers": 4920.0,
    "create a port": 153.0,
    "create a network": 85.0,
    "create a server, until ACTIVE": 1320.0,
    "burst of 50 servers until ACTIVE": 34.8,
    "allocation candidates over 1,000 providers": 199.0,
}
"""Release 2026.2 on a machine of this size."""
SCALING = {
    "list": r"list, ([\d,]+) servers",
    "list in detail": r"list in detail, ([\d,]+) servers",
    "20 in detail": r"20 of ([\d,]+) in detail",
    "20 in detail, after a marker": r"20 of ([\d,]+) in detail, after a marker in the middle",
    "one by its id": r"one of ([\d,]+) by its id",
    "allocation candidates": r"allocation candidates over ([\d,]+) providers",
    "10 allocation candidates": r"10 allocation candidates of ([\d,]+) providers",
}
"""What is measured at several sizes."""
LINEAR = 1.1
"""A slope in proportion, with a tenth for what a measurement is off."""


class Row(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One figure. `value` is in `unit`; p50 and p99 in milliseconds."""

    group: str
    name: str
    unit: str
    value: float
    count: int | None = None
    concurrency: int | None = None
    p50: float | None = None
    p99: float | None = None
    per_second: float | None = None
    database: float | None = None

    @classmethod
    def of(cls, group: str, name: str, figure: Figure | float, unit: str) -> "Row":
        """A figure of an operation, or a plain number."""
        if not isinstance(figure, Figure):
            return cls(group=group, name=name, unit=unit, value=round(figure, 4))
        rest = {key: round(value, 4) for key, value in vars(figure).items() if key != "cpu" and value is not None}
        return cls(group=group, name=name, unit=unit, value=round(figure.cpu, 4), **rest)


def points(rows: list[Row]) -> dict[str, list[tuple[float, float]]]:
    """(size, value) of what is measured at several sizes."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name, pattern in SCALING.items():
        for row in rows:
            if match := re.fullmatch(pattern, row.name):
                found.setdefault(name, []).append((float(match[1].replace(",", "")), row.value))
    return found


def slopes(rows: list[Row]) -> dict[str, float]:
    """Exponents of growth from 100 to the largest size: 1 is in proportion, 0 not at all."""
    found: dict[str, float] = {}
    for name, given in points(rows).items():
        some = sorted(point for point in given if point[0] >= 100)
        if len(some) > 1:
            (x1, y1), (x2, y2) = some[0], some[-1]
            found[name] = round(math.log(y2 / y1) / math.log(x2 / x1), 3)
    return found


def broken(found: dict[str, Any]) -> list[str]:
    """What does not hold, in words."""
    rows: list[Row] = found["stores"].get("SQLite", [])
    lines = [
        f"{row.name}: {row.value:g} {row.unit}, promised is less than {PROMISES[row.name]:g}"
        for row in rows
        if row.name in PROMISES and row.value >= PROMISES[row.name]
    ]
    for store, given in found["slopes"].items():
        lines += [
            f"{name} on {store} grows with n^{slope:.2f}, faster than in proportion" for name, slope in given.items() if slope > LINEAR
        ]
    return lines


def markdown(found: dict[str, Any]) -> str:
    """The page."""
    stores: dict[str, list[Row]] = found["stores"]
    lines = ["# The control plane, measured", ""]
    lines += ["Written by `./pileus bench control-plane --write`; [what is measured, and how](index.md).", ""]
    lines += ["| machine | |", "|---|---|", *(f"| {name} | {value} |" for name, value in found["machine"].items()), ""]
    lines += ["![CPU of one operation by how many servers or providers there are](control-plane.svg)", "", "## Growth", ""]
    lines += [f"The exponent of growth from 100 to the largest size: 1 is in proportion, 0 not at all; more than {LINEAR} fails.", ""]
    lines += ["| | " + " | ".join(stores) + " |", "|---|" + "---|" * len(stores)]
    for name in next(iter(found["slopes"].values())):
        lines.append(f"| {name} | " + " | ".join(f"{given.get(name, math.nan):.2f}" for given in found["slopes"].values()) + " |")
    groups: dict[str, dict[str, dict[str, Row]]] = {}
    for store, rows in stores.items():
        for row in rows:
            groups.setdefault(row.group, {}).setdefault(row.name, {})[store] = row
    for group, names in groups.items():
        lines += ["", f"## {group}", ""]
        heads = [f"{store} | p50, p99 ms" + (" | of the database" if store != "SQLite" else "") for store in stores]
        columns = "".join(heads).count("|") + len(stores)
        lines += ["| | | " + " | ".join(heads) + " | promise | OpenStack 2026.2 |", "|---|---|" + "---:|" * (columns + 2)]
        lines += [_line(name, given, list(stores)) for name, given in names.items()]
    if lacking := broken(found):
        lines += ["", "## What did not hold in this run", "", *(f"* {one}" for one in lacking)]
    return "\n".join(lines) + "\n"


def _line(name: str, given: dict[str, Row], stores: list[str]) -> str:
    unit = next(iter(given.values())).unit
    cells = [name, unit]
    for store in stores:
        row = given.get(store)
        cells.append("" if row is None else _short(row.value))
        cells.append("" if row is None or row.p50 is None or row.p99 is None else f"{_short(row.p50)}, {_short(row.p99)}")
        if store != "SQLite":
            cells.append("" if row is None or row.database is None else _short(row.database))
    promise, other = PROMISES.get(name), OPENSTACK.get(name)
    cells += ["" if promise is None else f"< {promise:g}", "" if other is None else f"{other:,g}"]
    return "| " + " | ".join(cells) + " |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def write(found: dict[str, Any], folder: Path) -> None:
    """The page, the plot, and the figures for programs."""
    folder.mkdir(exist_ok=True)
    (folder / "control-plane.md").write_text(markdown(found))
    (folder / "control-plane.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    names = ("list in detail", "20 in detail, after a marker", "one by its id", "allocation candidates")
    series = {f"{name}, {store}": given for store, rows in found["stores"].items() for name, given in points(rows).items() if name in names}
    drawn = {name: [point for point in given if point[0] > 0] for name, given in series.items()}
    text = plot.lines("CPU of one operation, control plane's process", "servers or providers", "ms of CPU", drawn)
    (folder / "control-plane.svg").write_text(text)
