"""Migrations of all servers: none has happened yet, since there is one host; the list has its form."""

from typing import Any

from pileus.api.compute import fields
from pileus.api.request import Request

QUERIES = {
    **dict.fromkeys(["hidden", "host", "instance_uuid", "source_compute", "status", "migration_type"], (2, 1)),
    **dict.fromkeys(["limit", "marker", "changes-since"], (2, 59)),
    "changes-before": (2, 66),
    "user_id": (2, 80),
    "project_id": (2, 80),
}


async def index(request: Request) -> dict[str, Any]:
    """GET /os-migrations."""
    fields.check_queries(request, QUERIES, (2, 59))
    return {"migrations": []}
