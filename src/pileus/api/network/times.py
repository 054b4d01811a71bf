"""Times as Neutron writes them."""

import time
from typing import Any

from pileus.model.base import Resource


def stamp(seconds: float) -> str:
    """2026-01-31T12:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def base_of(row: Resource) -> dict[str, Any]:
    """What every document begins with."""
    project_id = getattr(row, "project_id", "")
    return {
        "id": row.id,
        "project_id": project_id,
        "tenant_id": project_id,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "revision_number": row.generation,
    }
