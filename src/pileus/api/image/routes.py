"""The Image API's table of routes, and the service."""

from typing import Any

from pileus.api.faults import glance_fault
from pileus.api.image import (
    cache,
    documents,
    images,
    imports,
    listing,
    locations,
    members,
    metadef_bodies,
    metadefs,
    parts,
    store_routes,
    tags,
    transfers,
)
from pileus.api.image.metadef_items import item_routes, resource_types
from pileus.api.image.policy import POLICY
from pileus.api.request import Request
from pileus.api.routes import PUBLIC, Route, Service, route

IMAGE = "/v2/images/{image_id}"
NAMESPACES = "/v2/metadefs/namespaces"
NAMESPACE = NAMESPACES + "/{namespace}"
PATCHES = (images.NEW_PATCH, images.OLD_PATCH)

# fmt: off
ROUTES: list[Route] = [
    route("GET", "/", documents.choices, PUBLIC),
    route("GET", "/versions", documents.versions, PUBLIC),
    route("GET", "/v2", documents.choices, PUBLIC),

    route("GET", "/v2/images", listing.index, "get_images"),
    route("POST", "/v2/images", images.create, "add_image", body=dict[str, Any], success=201),
    route("GET", IMAGE, images.show, "get_image"),
    route("PATCH", IMAGE, images.update, "modify_image", body=list[Any], media=PATCHES),
    route("DELETE", IMAGE, images.delete, "delete_image", success=204),

    route("GET", IMAGE + "/file", transfers.download, "download_image"),
    route("PUT", IMAGE + "/file", transfers.upload, "upload_image", stream=True, success=204),
    route("PUT", IMAGE + "/stage", transfers.stage, "upload_image", stream=True, success=204),
    route("GET", IMAGE + "/stage", parts.show, "upload_image"),
    route("POST", IMAGE + "/import", imports.import_image, "upload_image", body=imports.ImportBody, success=202),
    route("POST", IMAGE + "/actions/deactivate", transfers.deactivate, "deactivate", success=204),
    route("POST", IMAGE + "/actions/reactivate", transfers.reactivate, "reactivate", success=204),

    route("PUT", IMAGE + "/tags/{tag}", tags.add, "modify_image", success=204),
    route("DELETE", IMAGE + "/tags/{tag}", tags.remove, "modify_image", success=204),

    route("GET", IMAGE + "/members", members.index, "get_members"),
    route("POST", IMAGE + "/members", members.create, "add_member", body=members.MemberBody),
    route("GET", IMAGE + "/members/{member_id}", members.show, "get_member"),
    route("PUT", IMAGE + "/members/{member_id}", members.update, "modify_member", body=members.StatusBody),
    route("DELETE", IMAGE + "/members/{member_id}", members.delete, "delete_member", success=204),

    route("GET", "/v2/schemas/{name}", documents.schema, "get_images"),
    route("GET", "/v2/info/import", documents.import_info, "get_images"),
    route("GET", "/v2/info/stores", store_routes.index, "stores_info"),
    route("GET", "/v2/info/stores/detail", store_routes.detail, "stores_info_detail"),
    route("DELETE", "/v2/stores/{store}/{image_id}", store_routes.take_out, "delete_image_location", success=204),
    route("GET", "/v2/info/usage", documents.usage_info, "get_images"),

    route("GET", IMAGE + "/tasks", imports.image_task_list, "get_image"),
    route("GET", "/v2/tasks", imports.list_tasks, "tasks_api_access"),
    route("POST", "/v2/tasks", imports.create_task, "tasks_api_access", body=imports.TaskBody, success=201),
    route("GET", "/v2/tasks/{task_id}", imports.show_task, "tasks_api_access"),

    route("GET", "/v2/schemas/metadefs/{name}", documents.metadef_schema, "get_images"),
    route("GET", "/v2/metadefs/resource_types", resource_types, "list_metadef_resource_types"),
    route("GET", NAMESPACES, metadefs.index, "get_metadef_namespaces"),
    route("POST", NAMESPACES, metadefs.create, "add_metadef_namespace", body=metadef_bodies.Namespace, success=201),
    route("GET", NAMESPACE, metadefs.show, "get_metadef_namespace"),
    route("PUT", NAMESPACE, metadefs.update, "modify_metadef_namespace", body=metadef_bodies.NamespaceChanges),
    route("DELETE", NAMESPACE, metadefs.delete, "delete_metadef_namespace", success=204),
    *item_routes(NAMESPACE),

    route("GET", IMAGE + "/locations", locations.index, "get_image_location"),
    route("POST", IMAGE + "/locations", locations.add, "set_image_location", body=locations.LocationBody, success=202),

    route("GET", "/v2/cache", cache.index, "manage_image_cache"),
    route("DELETE", "/v2/cache", cache.clear, "manage_image_cache", success=204),
    route("PUT", "/v2/cache/{image_id}", cache.queue, "manage_image_cache", success=202),
    route("DELETE", "/v2/cache/{image_id}", cache.remove, "manage_image_cache", success=204),
]
# fmt: on


async def hidden(request: Request) -> None:
    """NotFound for an image, or a namespace of metadata definitions, that the caller doesn't see."""
    if "image_id" in request.params:
        await images.load(request)
    elif "namespace" in request.params:
        await metadefs.load(request)


SERVICE = Service(
    prefix="image", name="glance", type="image", endpoint="", routes=ROUTES, policy=POLICY, fault=glance_fault,
    exact=True, hidden=hidden,
)  # fmt: skip
