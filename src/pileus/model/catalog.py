"""The catalog: regions, services and endpoints that operators add to those that pileus serves itself."""

import uuid
from enum import StrEnum
from typing import Any

from pileus.model.base import Resource

OURS = uuid.UUID("6d1f0a52-6a5e-5d1a-9a63-6b1f9d2f4c11")
"""The name space of the ids of what we serve ourselves."""


def own_service_id(prefix: str) -> str:
    """The id of a service of ours in the catalog; it never changes."""
    return uuid.uuid5(OURS, f"service {prefix}").hex


class Interface(StrEnum):
    """Whom an endpoint is for."""

    PUBLIC = "public"
    INTERNAL = "internal"
    ADMIN = "admin"


class Region(Resource, frozen=True, kw_only=True):
    """A region; its id is what people call it."""

    description: str = ""
    parent_region_id: str | None = None
    extra: dict[str, Any] = {}


class CatalogService(Resource, frozen=True, kw_only=True):
    """A service that clients may find."""

    type: str
    name: str = ""
    description: str = ""
    enabled: bool = True
    extra: dict[str, Any] = {}


class Endpoint(Resource, frozen=True, kw_only=True):
    """Where a service can be reached. `url` may contain %(project_id)s, %(tenant_id)s and %(user_id)s, also as $(...)s."""

    service_id: str
    interface: Interface
    url: str
    region_id: str | None = None
    enabled: bool = True
    extra: dict[str, Any] = {}


class EndpointGroup(Resource, frozen=True, kw_only=True):
    """The endpoints that have certain attributes (service_id, region_id, interface, enabled)."""

    name: str
    description: str | None = None
    filters: dict[str, Any] = {}


class Policy(Resource, frozen=True, kw_only=True):
    """A document of rules that another service reads; nothing here does."""

    type: str
    document: str
    extra: dict[str, Any] = {}
