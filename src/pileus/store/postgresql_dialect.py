"""Our portable statements as PostgreSQL's: numbered placeholders, and what SQLite means by LIKE, IN and TEXT."""

import functools
import re
from collections.abc import Sequence
from typing import Any

from pileus.model.base import Model

PARTS = re.compile(
    r"(?P<text>'(?:[^']|'')*')"
    r"|\bLIKE (?P<pattern>\?|'[^']*')"
    r"|\b(?P<nothing>(?:NOT )?IN \(\))"
    r"|\b(?P<list>(?:NOT )?IN \(\?(?:, ?\?)*\))"
    r"|(?P<mark>\?)"
)
DEFINES = re.compile(r"(CREATE|ALTER) TABLE")
TEXT_COLUMN = re.compile(r"\bTEXT\b")


class Statement(Model, frozen=True):
    """A statement for PostgreSQL. `spans`: how many of our arguments each of its own takes, 0 for one that is no list; None: no lists."""

    sql: str
    spans: tuple[int, ...] | None

    def arguments(self, args: Sequence[Any]) -> Sequence[Any]:
        """The arguments as the statement takes them: those of an IN list as one array."""
        if self.spans is None:
            return args
        given: list[Any] = []
        at = 0
        for span in self.spans:
            given.append(list(args[at : at + span]) if span else args[at])
            at += span or 1
        return given


@functools.lru_cache(maxsize=4096)
def translate(sql: str) -> Statement:
    """A statement with `?`, as PostgreSQL takes it.

    A list of placeholders becomes one array, so that lists of any length share one prepared statement. LIKE knows no case and no escape,
    as in SQLite. Text is compared byte by byte ("C"), whatever the database's language, so that lists are sorted alike on both.
    """
    spans: list[int] = []

    def replace(found: re.Match[str]) -> str:
        if found["text"]:
            return found["text"]
        if found["nothing"]:
            return "<> ALL ('{}')" if found["nothing"].startswith("NOT") else "= ANY ('{}')"
        if found["pattern"] and found["pattern"] != "?":
            return f"ILIKE {found['pattern']} ESCAPE ''"
        spans.append(found["list"].count("?") if found["list"] else 0)
        mark = f"${len(spans)}"
        if found["list"]:
            return f"<> ALL ({mark})" if found["list"].startswith("NOT") else f"= ANY ({mark})"
        return f"ILIKE {mark} ESCAPE ''" if found["pattern"] else mark

    text = PARTS.sub(replace, sql)
    if DEFINES.match(text):
        text = TEXT_COLUMN.sub('TEXT COLLATE "C"', text)
    return Statement(sql=text, spans=tuple(spans) if any(spans) else None)
