"""Metadata definitions: what properties mean, by namespaces, for people and tools that choose them."""

from enum import StrEnum
from typing import Any

from pileus.model.base import Resource


class MetadefKind(StrEnum):
    """What stands in a namespace."""

    OBJECT = "object"
    PROPERTY = "property"
    TAG = "tag"
    RESOURCE_TYPE = "resource_type"


class MetadefNamespace(Resource, frozen=True, kw_only=True):
    """A namespace; `name` is what the API calls `namespace`, and its key there."""

    name: str
    owner: str | None = None
    display_name: str | None = None
    description: str | None = None
    visibility: str = "private"
    protected: bool = False


class MetadefItem(Resource, frozen=True, kw_only=True):
    """An object, a property, a tag or the association with a resource type; `body` is what the API shows, without name and times."""

    namespace_id: str
    kind: MetadefKind
    name: str
    body: dict[str, Any] = {}
