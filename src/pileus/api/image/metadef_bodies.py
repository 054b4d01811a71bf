"""Bodies of metadata definitions, as structs: what is asked for is checked by them, what is answered is made of them."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from pileus.model.base import Model

Name = Annotated[str, Meta(min_length=1, max_length=80)]
Text = Annotated[str, Meta(max_length=500)]
Count = Annotated[int, Meta(ge=0)]
Type = Literal["array", "boolean", "integer", "number", "object", "string"]


class Items(Model, frozen=True, kw_only=True, omit_defaults=True):
    """What an array holds."""

    type: Type
    enum: list[Any] | None = None


class Property(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A property, in the words of JSON Schema; in an object or a namespace its name is the key."""

    title: str
    type: Type
    name: Name | None = None
    description: str | None = None
    operators: list[str] | None = None
    required: list[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    minLength: Count | None = None
    maxLength: Count | None = None
    minItems: Count | None = None
    maxItems: Count | None = None
    pattern: str | None = None
    enum: list[Any] | None = None
    readonly: bool | None = None
    uniqueItems: bool | None = None
    additionalItems: bool | None = None
    items: Items | None = None
    default: Any = None


class NamedProperty(Property, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A property by itself."""

    name: Name  # pyright: ignore[reportGeneralTypeIssues]


class Object(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Properties that belong together."""

    name: Name
    description: str | None = None
    required: list[str] | None = None
    properties: dict[str, Property] | None = None


class Tag(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A word of the namespace."""

    name: Name


class Tags(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST .../tags."""

    tags: list[Tag]


class Association(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What kind of resource the namespace's properties are for."""

    name: Name
    prefix: Annotated[str, Meta(max_length=80)] | None = None
    properties_target: Annotated[str, Meta(max_length=80)] | None = None


class NamespaceChanges(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of PUT .../namespaces/{namespace}: all of the namespace's own attributes."""

    namespace: Name
    display_name: Annotated[str, Meta(max_length=80)] | None = None
    description: Text | None = None
    visibility: Literal["public", "private"] = "private"
    protected: bool = False
    owner: Annotated[str, Meta(max_length=255)] | None = None


class Namespace(NamespaceChanges, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST .../namespaces: with all that stands in it."""

    resource_type_associations: list[Association] = []
    properties: dict[str, Property] = {}
    objects: list[Object] = []
    tags: list[Tag] = []
