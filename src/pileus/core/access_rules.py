"""Which requests an access rule is about."""

import re
from collections.abc import Iterable
from functools import lru_cache

Rule = tuple[str, str, str]
"""Service type, method, path. In a path `*` and `{name}` stand for one part, `**` for all that follows."""

PIECE = re.compile(r"\{[^{}/]*\}|\*\*|\*|[^{*]+|\{")


LONGEST_PATH = 4096


def permitted(rules: Iterable[Rule], service: str, method: str, path: str) -> bool:
    """Whether one of the rules is about a request to a service; `path` is below the service's own, such as /v2.1/servers."""
    return any(rule[0] == service and rule[1] == method and matches(rule[2], path) for rule in rules)


def matches(pattern: str, path: str) -> bool:
    """Whether a rule's path is about this one. The pattern is a user's, so all ways to match are followed at once and none twice."""
    if len(path) > LONGEST_PATH:
        return False
    places = {0}  # how much of the path the pieces so far can account for
    for piece in _pieces(pattern):
        if piece == "**":
            places = set(range(min(places), len(path) + 1))
        elif piece == "*":
            places = _one_part_on(places, path)
        else:
            places = {place + len(piece) for place in places if path.startswith(piece, place)}
        if not places:
            return False
    return len(path) in places


def _one_part_on(places: set[int], path: str) -> set[int]:
    """Where one character or more, none of them a slash, may end."""
    found: set[int] = set()
    for start in sorted(places):
        place = start
        while place < len(path) and path[place] != "/" and place + 1 not in found:
            place += 1
            found.add(place)
    return found


@lru_cache(maxsize=1024)
def _pieces(pattern: str) -> list[str]:
    return ["*" if one[0] == "{" and len(one) > 1 else one for one in PIECE.findall(pattern)]
