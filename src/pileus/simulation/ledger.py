"""What customers were told, and what may be true of their servers in consequence."""

from typing import Any

import msgspec

RUNS, OFF = frozenset({"ACTIVE"}), frozenset({"SHUTOFF"})
OUTCOMES: dict[str, frozenset[str]] = {
    "create": RUNS,
    "os-start": RUNS,
    "os-stop": OFF,
    "reboot": RUNS,
    "rebuild": RUNS,
    "pause": frozenset({"PAUSED"}),
    "unpause": RUNS,
    "suspend": frozenset({"SUSPENDED"}),
    "resume": RUNS,
    "resize": frozenset({"VERIFY_RESIZE", "ACTIVE"}),
    "confirmResize": RUNS,
    "revertResize": RUNS,
}
"""Status once an accepted request is done. Without an entry: none changes."""
SHAPES = ("resize", "confirmResize", "revertResize")
"""These start nothing that has ended."""


class Expected(msgspec.Struct):
    """Of one server, by its name."""

    there: set[bool] = msgspec.field(default_factory=lambda: {False})
    statuses: set[str] = msgspec.field(default_factory=set)
    marks: set[str | None] = msgspec.field(default_factory=lambda: {None})
    asked_at: float = 0.0  # when it was last to be on or off

    def take(self, what: str, at: float, certain: bool, mark: str | None = None) -> None:
        """A request that was accepted, or (not `certain`) whose answer never came."""
        before = (set(self.there), set(self.statuses), set(self.marks))
        if what == "create":
            self.there = {True}
        if what == "delete":
            self.there = {False}
        if what == "mark":
            self.marks = {mark}
        if what in OUTCOMES:
            self.statuses = set(OUTCOMES[what])
            if what not in SHAPES:
                self.asked_at = at
        if not certain:
            self.there |= before[0]
            self.statuses |= before[1]
            self.marks |= before[2]


class Ledger:
    """By server's name."""

    def __init__(self) -> None:
        self.expected: dict[str, Expected] = {}

    def take(self, name: str, what: str, at: float, certain: bool, mark: str | None = None) -> None:
        """See Expected."""
        self.expected.setdefault(name, Expected()).take(what, at, certain, mark)

    def settle(self, servers: list[dict[str, Any]]) -> None:
        """All is at rest and as it may be: from now on it is known how it is."""
        there = {one["name"]: one for one in servers}
        for name in list(self.expected):
            if (server := there.get(name)) is None:
                del self.expected[name]
                continue
            one = self.expected[name]
            one.there, one.statuses, one.marks = {True}, {server["status"]}, {server["metadata"].get("mark")}

    def problems(self, servers: list[dict[str, Any]], wounded: dict[str, float]) -> list[str]:
        """What is not as it may be. `wounded`: server id -> when it was last cut off."""
        there = {one["name"]: one for one in servers}
        found = [] if len(there) == len(servers) else ["a server is there twice"]
        found += [f"{name} is there, and nobody was told so" for name in there if name not in self.expected]
        for name, may in self.expected.items():
            server = there.get(name)
            if (server is not None) not in may.there:
                found.append(f"{name} should {'not ' if server else ''}be there")
            if server is None:
                continue
            found += _of_status(server, may, wounded.get(server["id"], -1.0) >= may.asked_at)
            if server["metadata"].get("mark") not in may.marks:
                found.append(f"{name} has the mark {server['metadata'].get('mark')}, should have one of {sorted(map(str, may.marks))}")
        return found


def _of_status(server: dict[str, Any], may: Expected, wounded: bool) -> list[str]:
    name, status, task = server["name"], server["status"], server["OS-EXT-STS:task_state"]
    if task is not None:
        return [f"{name} is {status} and still {task}"]
    if status == "ERROR":
        return [] if server.get("fault", {}).get("message") else [f"{name} is in ERROR without a reason"]
    allowed = may.statuses | ({"SHUTOFF"} if wounded else set())
    return [] if status in allowed else [f"{name} is {status}, should be one of {sorted(allowed)}"]
