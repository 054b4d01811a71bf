"""Who may use Placement: administrators and services; every reader of a project sees that project's usage."""

from typing import Any

from pileus.api.placement.policy import POLICY
from tests.api.access import ADMIN, NOBODY, READERS
from tests.api.harness import TestCloud

OPEN = {"GET /"}
ACCESS = {
    **dict.fromkeys(POLICY, ADMIN),
    "placement:usages": READERS,
    "placement:reshaper:reshape": NOBODY,  # services alone
}


def belongings(cloud: TestCloud) -> list[tuple[str, str, Any]]:
    """Requests about project demo: its usage."""
    return [("GET", f"/placement/usages?project_id={cloud.project_id()}", None)]
