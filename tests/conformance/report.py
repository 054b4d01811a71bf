"""The outcome for people, for programs, and as a page of docs/conformance."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.conformance.outcome import Outcome
from tests.conformance.skips import UNEXPLAINED, explained

HEAD = """# Conformance of {service}

{date}, by `{command}`: {versions}, on a cloud of simulated hosts.
This page is written by that command; the reasons of skips are those of `tests/conformance/skips.py`.

"""
SHOWN = 5
"""So many names of one group of skips are listed for people; --json has them all."""


def program(service: str, outcomes: list[Outcome], about: dict[str, Any]) -> dict[str, Any]:
    """All of it, for JSON."""
    suites = [_suite(one) for one in outcomes]
    return {"service": service, **about, "suites": suites, "good": all(one.good for one in outcomes)}


def _suite(one: Outcome) -> dict[str, Any]:
    skipped = [{"test": name, "said": said, "reason": explained(name, said)} for name, said in sorted(one.skipped.items())]
    return {
        "suite": one.title,
        "passed": len(one.passed),
        "failed": sorted(one.failed),
        "not_run": one.lost,
        "skipped": skipped,
        "seconds": round(one.seconds, 1),
    }


def people(outcomes: list[Outcome]) -> str:
    """A table, then what failed, then the reasons of the skips."""
    rows = [("suite", "passed", "failed", "skipped", "seconds"), *map(_row, outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        f"{row[0]:<{widths[0]}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)) for row in rows
    ]
    for one in outcomes:
        lines += [f"FAILED   {name}" for name in sorted(one.failed)] + [f"NOT RUN  {name}" for name in one.lost]
    for reason, said in skips(outcomes).items():
        names = sorted({name for group in said.values() for name in group})
        lines.append(f"skipped  {sum(map(len, said.values()))}: {reason}")
        lines += [f"         {name}" for name in names[:SHOWN]]
        lines += [f"         and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return "\n".join(lines)


def elsewhere(outcomes: list[Outcome]) -> list[str]:
    """Of tests that ask for other settings than the rest: on which clouds they ran."""
    found: dict[str, int] = defaultdict(int)
    for one in outcomes:
        for where, count in one.elsewhere.items():
            found[where] = max(count, found[where])
    return [f"{count} of Tempest's tests ask for other settings: they ran on {where}." for where, count in found.items()]


def _row(one: Outcome) -> tuple[str, str, str, str, str]:
    return one.title, str(len(one.passed)), str(len(one.failed) + len(one.lost)), str(len(one.skipped)), f"{one.seconds:.0f}"


def skips(outcomes: Iterable[Outcome]) -> dict[str, dict[str, list[str]]]:
    """{our reason: {what the suite said: names}}, unexplained ones first, then the most frequent."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in outcomes:
        for name, said in one.skipped.items():
            found[explained(name, said)][said].append(name)
    order = sorted(found, key=lambda reason: (reason != UNEXPLAINED, -sum(map(len, found[reason].values())), reason))
    return {reason: {said: sorted(names) for said, names in found[reason].items()} for reason in order}


def page(service: str, outcomes: list[Outcome], about: dict[str, Any]) -> str:
    """A page of docs/conformance."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [HEAD.format(service=service, date=about["date"], command=about["command"], versions=versions)]
    lines += ["| suite | passed | failed | skipped | seconds |\n", "|---|---|---|---|---|\n"]
    lines += [f"| {' | '.join(_row(one))} |\n" for one in outcomes]
    lines += [f"\n{words}\n" for words in elsewhere(outcomes)]
    failed = [(one.title, name) for one in outcomes for name in (*sorted(one.failed), *one.lost)]
    lines += ["\n## Failed\n\n", *(f"* {title}: `{name}`\n" for title, name in failed)] if failed else ["\nNothing failed.\n"]
    groups = skips(outcomes)
    lines += ["\n## Skipped\n"] if groups else ["\nNothing was skipped.\n"]
    for reason, said in groups.items():
        lines.append(f"\n### {reason[0].upper()}{reason[1:]} ({sum(map(len, said.values()))})\n\n")
        for words, names in said.items():
            lines.append(f"* the suite says: {_plain(words)}\n")
            lines += [
                f"  * `{name}`" + (f", {names.count(name)} times" if names.count(name) > 1 else "") + "\n" for name in sorted(set(names))
            ]
    return "".join(lines)


def _plain(words: str) -> str:
    """One line of Markdown that means nothing but its text."""
    return f"`{' '.join(words.replace('`', chr(39)).split())[:200]}`" if words else "nothing"


def write(home: Path, service: str, text: str) -> Path:
    """Writes the page."""
    path = home / "docs" / "conformance" / f"{service}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path
