"""What a suite's tests came to, read from the lines that stestr prints."""

import re
from collections import Counter
from dataclasses import dataclass, field

LINE = re.compile(r"^\{\d+\} (?P<test>.+?) (?:\[[\d.]+s\] )?\.\.\. (?P<outcome>ok|FAILED|SKIPPED)(?:: (?P<reason>.*))?$")


def bare(name: str) -> str:
    """A test's name without its tags, with what it is run for in parentheses."""
    return re.sub(r"\[[^\]]*\]", "", name.strip())


@dataclass
class Outcome:
    """Tests by what became of them. `lost`: listed, and never heard of again. `elsewhere`: how many ran on which other cloud."""

    title: str
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0
    elsewhere: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Nothing failed, and something ran."""
        return not self.failed and not self.lost and bool(self.passed or self.skipped)

    def complete(self, part: "Outcome", where: str) -> None:
        """Add what came of a part that ran on another cloud, `where`. What was skipped here, and ran there, is skipped no more; tests that
        there are once for each image of a set stand for the plain name."""
        ran = {name.partition("(")[0] for name in (*part.passed, *part.failed, *part.lost)}
        self.skipped = {name: why for name, why in self.skipped.items() if name not in ran}
        known = {*self.passed, *self.failed, *self.skipped, *self.lost}
        self.passed += [name for name in part.passed if name not in known]
        self.failed += part.failed
        self.skipped |= {name: why for name, why in part.skipped.items() if name not in known}
        self.lost += part.lost
        self.seconds += part.seconds
        self.elsewhere[where] = len(part.passed) + len(part.failed) + len(part.lost)

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
