"""Which requests an access rule is about."""

import re
from collections.abc import Iterable
from functools import lru_cache

Rule = tuple[str, str, str]
"""Service type, method, path. In a path `*` and `{name}` stand for one part, `**` for all that follows."""

PIECE = re.compile(r"\{[^{}/]*\}|\*\*|\*|[^{*]+|\{")


def permitted(rules: Iterable[Rule], service: str, method: str, path: str) -> bool:
    """Whether one of the rules is about a request to a service; `path` is below the service's own, such as /v2.1/servers."""
    return any(rule[0] == service and rule[1] == method and _pattern(rule[2]).fullmatch(path) is not None for rule in rules)


@lru_cache(maxsize=1024)
def _pattern(path: str) -> re.Pattern[str]:
    pieces = [
        ".*" if one == "**" else "[^/]+" if one == "*" or (one[0] == "{" and len(one) > 1) else re.escape(one)
        for one in PIECE.findall(path)
    ]
    return re.compile("".join(pieces), re.DOTALL)
