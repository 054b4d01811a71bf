"""JSON schemas of metadata definitions: made of the structs that check the bodies, with the names that clients of the Image API read."""

from typing import Any

import msgspec

from pileus.api.image import metadef_bodies as bodies

TIME = {"type": "string", "format": "date-time", "readOnly": True}
LINK = {"type": "string", "readOnly": True}
Schema = dict[str, Any]


def _of(name: str, struct: type, **more: Schema) -> Schema:
    """A struct's schema, flat, under the API's name for it."""
    (root,), definitions = msgspec.json.schema_components([struct], ref_template="#/definitions/{name}")
    found = definitions.pop(root["$ref"].rpartition("/")[2])
    schema: Schema = {
        "name": name,
        "properties": {**found["properties"], **more},
        "required": found.get("required", []),
        "additionalProperties": False,
    }
    return schema | ({"definitions": definitions} if definitions else {})


def _list(name: str, one: Schema, keyed: bool = False) -> Schema:
    """The schema of a list, or of an object by names."""
    items = {"type": "object", "additionalProperties": one} if keyed else {"type": "array", "items": one}
    return {
        "name": name,
        "properties": {name: items, "first": {"type": "string"}, "next": {"type": "string"}, "schema": {"type": "string"}},
        "links": [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}, {"rel": "describedby", "href": "{schema}"}],
    }


TIMES: dict[str, Schema] = {"created_at": TIME, "updated_at": TIME}
SELF: dict[str, Schema] = {"self": LINK, "schema": LINK}
NAMESPACE = _of("namespace", bodies.Namespace, **TIMES, **SELF)
OBJECT = _of("object", bodies.Object, **TIMES, **SELF)
PROPERTY = _of("property", bodies.NamedProperty)
TAG = _of("tag", bodies.Tag, **TIMES)
ASSOCIATION = _of("resource_type_association", bodies.Association, **TIMES)

METADEF_SCHEMAS: dict[str, Schema] = {
    "namespace": NAMESPACE,
    "namespaces": _list("namespaces", NAMESPACE),
    "object": OBJECT,
    "objects": _list("objects", OBJECT),
    "property": PROPERTY,
    "properties": _list("properties", PROPERTY, keyed=True),
    "tag": TAG,
    "tags": _list("tags", TAG),
    "resource_type": ASSOCIATION,
    "resource_types": _list("resource_type_associations", ASSOCIATION),
}
