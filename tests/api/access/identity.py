"""Who may use the identity service. Domain and system readers are no personas here: tests/api/identity/test_scopes.py has them."""

from typing import Any

from tests.api.access import ADMIN, MANAGERS, READERS
from tests.api.harness import TestCloud

OPEN = {"GET /", "GET /v3", "POST /v3/auth/tokens"}

ACCESS = {
    "identity:auth": READERS,
    "identity:list_domains": ADMIN,
    "identity:get_domain": READERS,
    "identity:create_domain": ADMIN,
    "identity:update_domain": ADMIN,
    "identity:delete_domain": ADMIN,
    "identity:list_projects": ADMIN,
    "identity:get_project": READERS,
    "identity:create_project": ADMIN,
    "identity:update_project": ADMIN,
    "identity:delete_project": ADMIN,
    "identity:list_project_tags": READERS,
    "identity:update_project_tags": MANAGERS,
}


def belongings(cloud: TestCloud) -> list[tuple[str, str, Any]]:
    """Requests about project demo and its people."""
    project = f"/identity/v3/projects/{cloud.project_id()}"
    return [
        ("GET", project, None),
        ("PATCH", project, {"project": {"name": "mine"}}),
        ("DELETE", project, None),
        ("GET", f"{project}/tags", None),
        ("PUT", f"{project}/tags", {"tags": ["mine"]}),
        ("GET", "/identity/v3/projects/there-is-no-such-project", None),
    ]
