"""The released clients against the identity service."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.api.harness import PASSWORD, TestCloud

CLIENT = Path(sys.executable).parent / "openstack"
pytestmark = pytest.mark.skipif(
    not CLIENT.exists() and shutil.which("openstack") is None, reason="python-openstackclient is not installed beside this Python"
)
JSON = ("-f", "json")
ADMIN = {"user": "admin", "project": "admin"}


def test_the_command_line_client_logs_in_and_sees_the_catalog(shared_cloud: TestCloud) -> None:
    assert shared_cloud.openstack("token", "issue", *JSON)["project_id"] == shared_cloud.project_id()
    catalog = shared_cloud.openstack("catalog", "list", *JSON)
    keystone = next(one for one in catalog if one["Type"] == "identity")
    assert {one["url"] for one in keystone["Endpoints"]} == {f"{shared_cloud.url}/identity"}


def test_the_command_line_client_keeps_projects_users_and_roles(shared_cloud: TestCloud) -> None:
    cloud = shared_cloud
    cloud.openstack("project", "create", "lab", "--tag", "x", "--property", "color=red", *JSON, **ADMIN)
    cloud.openstack("user", "create", "ann", "--password", "pw", "--email", "ann@example.org", *JSON, **ADMIN)
    cloud.openstack("role", "add", "--user", "ann", "--project", "lab", "member", **ADMIN)
    rows = cloud.openstack("role", "assignment", "list", "--user", "ann", "--names", *JSON, **ADMIN)
    assert [(row["Role"], row["Project"]) for row in rows] == [("member", "lab@Default")]
    assert cloud.openstack("token", "issue", *JSON, user="ann", project="lab", OS_PASSWORD="pw")["id"]
    cloud.openstack("user", "delete", "ann", **ADMIN)
    refused = cloud.openstack("token", "issue", check=False, user="ann", project="lab", OS_PASSWORD="pw")
    assert "HTTP 401" in refused


def test_the_library_uses_an_application_credential(shared_cloud: TestCloud) -> None:
    import openstack

    owner = shared_cloud.connection()
    made = owner.identity.create_application_credential(owner.current_user_id, name="robot", roles=[{"name": "reader"}])
    robot = openstack.connect(
        auth_type="v3applicationcredential",
        auth_url=f"{shared_cloud.url}/identity",
        application_credential_id=made.id,
        application_credential_secret=made.secret,
        region_name="RegionOne",
    )
    assert robot.current_project_id == shared_cloud.project_id()
    assert [one.name for one in robot.identity.application_credentials(owner.current_user_id)] == ["robot"]


def test_the_library_reads_lists_page_by_page(shared_cloud: TestCloud) -> None:
    admin = shared_cloud.connection("admin", "admin")
    for number in range(5):
        admin.identity.create_project(name=f"page {number}")
    assert len([one for one in admin.identity.projects(limit=2) if one.name.startswith("page ")]) == 5
    system = shared_cloud.openstack("user", "list", *JSON, user="admin", project=None, OS_SYSTEM_SCOPE="all")
    assert {"admin", "demo"} <= {one["Name"] for one in system}
    assert PASSWORD not in str(system)
