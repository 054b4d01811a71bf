"""The catalog: the services that this process serves, at the address that the client used, and those that operators added."""

import re
import uuid
from typing import Any

from pileus.api.request import Request
from pileus.api.routes import Service
from pileus.model.catalog import OURS, CatalogService, Endpoint, EndpointGroup, Interface, own_service_id
from pileus.model.identity import Identity
from pileus.store.catalog import ENDPOINTS, SERVICES, endpoint_ids_of_project, groups_of_project
from pileus.store.database import Reader

VARIABLE = re.compile(r"[%$]\((\w+)\)s")


def own_service(service: Service) -> CatalogService:
    """A service of this process as the catalog shows it; its id never changes."""
    return CatalogService(
        id=own_service_id(service.prefix),
        type=service.type,
        name=service.name,
        description=f"{service.name} ({service.type})",
    )


def own_endpoints(request: Request, service: Service) -> list[Endpoint]:
    """Its endpoints, one for each interface."""
    path = "/".join(part for part in (service.prefix, service.endpoint.strip("/")) if part)
    return [
        Endpoint(
            id=uuid.uuid5(OURS, f"endpoint {service.prefix} {interface}").hex,
            service_id=own_service(service).id,
            interface=interface,
            region_id=request.cloud.config.region,
            url=f"{request.base_url}/{path}",
        )
        for interface in Interface
    ]


async def all_services(request: Request, db: Reader) -> list[CatalogService]:
    """Our services, then the operator's."""
    own = [own_service(one) for one in request.cloud.services.values() if one.type]
    return own + await SERVICES.find(db, "1 = 1 ORDER BY created_at, id")


async def all_endpoints(request: Request, db: Reader) -> list[Endpoint]:
    """Our endpoints, then the operator's."""
    own = [endpoint for one in request.cloud.services.values() if one.type for endpoint in own_endpoints(request, one)]
    return own + await ENDPOINTS.find(db, "1 = 1 ORDER BY created_at, id")


async def catalog_of(request: Request, identity: Identity) -> list[dict[str, Any]]:
    """The catalog as a token carries it: enabled services with enabled endpoints, variables filled in."""
    values = {"project_id": identity.project_id, "tenant_id": identity.project_id, "user_id": identity.user_id}
    listed: dict[str, list[dict[str, Any]]] = {}
    for endpoint in await project_endpoints(request, identity.project_id):
        url = _filled(endpoint.url, values) if endpoint.enabled else None
        if url is not None:
            listed.setdefault(endpoint.service_id, []).append(
                {
                    "id": endpoint.id,
                    "interface": endpoint.interface,
                    "region_id": endpoint.region_id,
                    "region": endpoint.region_id,
                    "url": url,
                }
            )
    return [
        {"id": service.id, "type": service.type, "name": service.name, "endpoints": listed.get(service.id, [])}
        for service in await all_services(request, request.cloud.db)
        if service.enabled
    ]


async def project_endpoints(request: Request, project_id: str | None) -> list[Endpoint]:
    """The endpoints that a project sees: those that it was given, one by one or by groups; all of them when it was given none."""
    db = request.cloud.db
    every = await all_endpoints(request, db)
    if project_id is None:
        return every
    single, groups = await endpoint_ids_of_project(db, project_id), await groups_of_project(db, project_id)
    if not single and not groups:
        return every
    return [one for one in every if one.id in single or any(in_group(one, group) for group in groups)]


def in_group(endpoint: Endpoint, group: EndpointGroup) -> bool:
    """Whether an endpoint has the attributes that the group names."""
    return all(getattr(endpoint, name, None) == value for name, value in group.filters.items())


def _filled(url: str, values: dict[str, str | None]) -> str | None:
    """The address with its variables; None when the token has no value for one."""
    names = VARIABLE.findall(url)
    if any(values.get(name) is None for name in names):
        return None
    return VARIABLE.sub(lambda match: values[match[1]] or "", url)
