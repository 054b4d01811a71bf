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
    "get_image_location": ADMIN,
    "set_image_location": MEMBERS,
    "stores_info": READERS,
    "stores_info_detail": ADMIN,
    "delete_image_location": ADMIN,
    "tasks_api_access": ADMIN,
    "manage_image_cache": ADMIN,
    "get_metadef_namespaces": READERS,
    "get_metadef_namespace": READERS,
    "get_metadef_objects": READERS,
    "get_metadef_object": READERS,
    "get_metadef_properties": READERS,
    "get_metadef_property": READERS,
    "get_metadef_tags": READERS,
    "get_metadef_tag": READERS,
    "list_metadef_resource_types": READERS,
    "get_metadef_resource_type": READERS,
    "add_metadef_namespace": ADMIN,
    "modify_metadef_namespace": ADMIN,
    "delete_metadef_namespace": ADMIN,
    "add_metadef_object": ADMIN,
    "modify_metadef_object": ADMIN,
    "delete_metadef_object": ADMIN,
    "add_metadef_property": ADMIN,
    "modify_metadef_property": ADMIN,
    "remove_metadef_property": ADMIN,
    "add_metadef_tag": ADMIN,
    "add_metadef_tags": ADMIN,
    "modify_metadef_tag": ADMIN,
    "delete_metadef_tag": ADMIN,
    "delete_metadef_tags": ADMIN,
    "add_metadef_resource_type_association": ADMIN,
    "remove_metadef_resource_type_association": ADMIN,
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
        ("GET", f"{image}/tasks", None),
        ("DELETE", f"/image/v2/stores/local/{image.rpartition('/')[2]}", None),
    ]
