"""Who may use the image service."""

from typing import Any

from tests.api.access import ADMIN, MEMBERS, READERS
from tests.api.harness import TestCloud

OPEN = {"GET /", "GET /versions", "GET /v2"}

ACCESS = {
    "get_images": READERS,
    "get_image": READERS,
    "add_image": MEMBERS,
    "modify_image": MEMBERS,
    "delete_image": MEMBERS,
    "download_image": MEMBERS,
    "upload_image": MEMBERS,
    "deactivate": MEMBERS,
    "reactivate": MEMBERS,
    "get_members": READERS,
    "get_member": READERS,
    "add_member": MEMBERS,
    "modify_member": MEMBERS,
    "delete_member": MEMBERS,
    "get_image_location": MEMBERS,
    "set_image_location": MEMBERS,
    "stores_info": READERS,
    "tasks_api_access": ADMIN,
    "manage_image_cache": ADMIN,
    "get_metadef_namespaces": READERS,
    "modify_metadef_namespace": ADMIN,
}


def belongings(cloud: TestCloud) -> list[tuple[str, str, Any]]:
    """Requests about a private image of project demo; PATCH and uploads, whose bodies are not plain JSON, are in tests/api/image."""
    body = {"name": "mine", "visibility": "private", "disk_format": "raw", "container_format": "bare", "tags": ["t"]}
    image = f"/image/v2/images/{cloud.call('POST', '/image/v2/images', token='member', json=body).json['id']}"
    return [
        ("GET", image, None),
        ("DELETE", image, None),
        ("GET", f"{image}/file", None),
        ("POST", f"{image}/import", {"method": {"name": "glance-direct"}}),
        ("POST", f"{image}/actions/deactivate", None),
        ("POST", f"{image}/actions/reactivate", None),
        ("PUT", f"{image}/tags/u", None),
        ("DELETE", f"{image}/tags/t", None),
        ("GET", f"{image}/members", None),
        ("POST", f"{image}/members", {"member": "p"}),
        ("GET", f"{image}/members/p", None),
        ("PUT", f"{image}/members/p", {"status": "accepted"}),
        ("DELETE", f"{image}/members/p", None),
    ]
