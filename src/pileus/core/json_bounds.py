"""What a JSON body may hold beyond its bytes: no text with a NUL, no nesting without end, no list that a handler would choke on."""

from typing import Any

DEEPEST = 64
LONGEST = 10_000
MOST = 200_000
NUL = "it has text with a NUL character"


def worth_a_look(data: bytes) -> bool:
    """Whether a body of these bytes could break a bound at all: three counts in C, so that most bodies are never walked."""
    return b"\\u0000" in data or data.count(b"[") + data.count(b"{") > DEEPEST or data.count(b",") >= LONGEST


def problem(value: Any) -> str:
    """Which bound a decoded body breaks, in words; empty when none. Without recursion, and it ends at the first bound that is broken.

    A NUL stands in no file name, no argument and no column of PostgreSQL's. Names of an object count as its values do.
    """
    level: list[Any] = [value]
    seen = 0
    for _ in range(DEEPEST):
        below: list[Any] = []
        for one in level:
            inner = _inner(one)
            if len(inner) > LONGEST:
                return f"it has a list or object of {len(inner)} items, and at most {LONGEST} are accepted"
            for part in inner:
                if isinstance(part, str):
                    if "\0" in part:
                        return NUL
                elif isinstance(part, dict | list):
                    below.append(part)
            seen += len(inner)
            if seen > MOST:
                return f"it has more than {MOST} values"
        if not below:
            return NUL if isinstance(value, str) and "\0" in value else ""
        level = below
    return f"it is nested deeper than {DEEPEST} levels"


def _inner(one: Any) -> list[Any]:
    """What a list or an object holds."""
    if isinstance(one, dict):
        found: dict[str, Any] = one  # pyright: ignore[reportUnknownVariableType]
        return [*found, *found.values()] if len(found) <= LONGEST else [None] * len(found)
    return one if isinstance(one, list) else []  # pyright: ignore[reportUnknownVariableType]
