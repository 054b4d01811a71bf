"""What a suite's tests came to, read from the lines that stestr prints."""

import re
from collections import Counter
from dataclasses import dataclass, field

LINE = re.compile(r"^\{\d+\} (?P<test>.+?) (?:\[[\d.]+s\] )?\.\.\. (?P<outcome>ok|FAILED|SKIPPED)(?:: (?P<reason>.*))?$")


def bare(name: str) -> str:
    """A test's name without its tags."""
    return name.strip().partition("[")[0]


@dataclass
class Outcome:
    """Tests by what became of them. `lost`: listed, and never heard of again."""

    title: str
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Nothing failed, and something ran."""
        return not self.failed and not self.lost and bool(self.passed or self.skipped)

    def reasons(self) -> list[tuple[str, list[str]]]:
        """Each reason of a skip with its tests, the most frequent first."""
        counted = Counter(self.skipped.values())
        return [(reason, sorted(name for name, why in self.skipped.items() if why == reason)) for reason, _ in counted.most_common()]


def read(title: str, output: str, listed: list[str]) -> Outcome:
    """The outcome of a run. A class that is skipped or broken as a whole counts once for each of its tests."""
    found = Outcome(title)
    listed = [bare(name) for name in listed]
    for match in filter(None, map(LINE.match, output.splitlines())):
        name = bare(match["test"])
        names = [name]
        if name.startswith(("setUpClass", "tearDownClass")):
            group = name.partition("(")[2].rstrip(")")
            names = [one for one in listed if one.rpartition(".")[0] == group] if name.startswith("setUp") else [name]
        if match["outcome"] == "SKIPPED":
            found.skipped |= dict.fromkeys(names, (match["reason"] or "").strip())
        else:
            (found.passed if match["outcome"] == "ok" else found.failed).extend(names)
    seen = {*found.passed, *found.failed, *found.skipped}
    found.lost = [name for name in listed if name not in seen]
    return found
