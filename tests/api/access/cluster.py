"""Who may use the API of hosts: administrators; whoever shows a join token or a signed address."""

from typing import Any

from pileus.api.cluster.routes import POLICY
from tests.api.access import ADMIN
from tests.api.harness import TestCloud

OPEN = {"POST /v1/join", "GET /v1/content/{sha256}", "PUT /v1/snapshots/{image_id}", "GET /v1/version"}
ACCESS = dict.fromkeys(POLICY, ADMIN)


def belongings(cloud: TestCloud) -> list[tuple[str, str, Any]]:
    """Nothing here belongs to a project."""
    return []
