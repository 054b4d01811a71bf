"""Who may use the consoles' pages: anyone; what opens a console is the token in the address, which only the page's WebSocket uses."""

from typing import Any

from tests.api.harness import TestCloud

OPEN = {"GET /vnc", "GET /serial", "GET /static/{name}"}
ACCESS: dict[str, frozenset[str]] = {}


def belongings(cloud: TestCloud) -> list[tuple[str, str, Any]]:
    """The pages hold nothing of a project."""
    return []
