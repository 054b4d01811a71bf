"""The OpenAPI document of all services, made from their tables of routes and the structs of their bodies.

Source: OpenAPI 3.1. What a service answers is described by its own API reference; here stand paths, methods, parameters, bodies and codes.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

import pileus
from pileus.api.faults import title_of
from pileus.api.routes import PUBLIC, Route, Service, parameters

REFS = "#/components/schemas/{name}"
TOKEN = "token"  # noqa: S105 the scheme's name


def document(services: Mapping[str, Service]) -> dict[str, Any]:
    """The whole document."""
    rows = [(service, one) for service in services.values() for one in service.routes]
    bodies = list(dict.fromkeys(one.body for _, one in rows if one.body is not None))
    schemas, components = msgspec.json.schema_components(bodies, ref_template=REFS)
    schema_of = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for service, one in rows:
        place = paths.setdefault(_path(service, one), {})
        operation = place.setdefault(one.method.lower(), _operation(service, one))
        if one.body is not None:
            _add_body(operation, one, schema_of[one.body])
    return {
        "openapi": "3.1.0",
        "info": {"title": "pileus: OpenStack's APIs", "version": pileus.__version__},
        "servers": [{"url": "/"}],
        "tags": [{"name": service.type, "description": service.name} for service in services.values()],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {TOKEN: {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def encoded(services: Mapping[str, Service]) -> bytes:
    """The document as JSON; made when it is first asked for."""
    if not any(known is services for known, _ in _made):
        _made.append((services, msgspec.json.encode(document(services))))
    return next(data for known, data in _made if known is services)


_made: list[tuple[Mapping[str, Service], bytes]] = []


def _path(service: Service, one: Route) -> str:
    return f"/{service.prefix}{one.path}".replace(":path}", "}").rstrip("/") or "/"


def _operation(service: Service, one: Route) -> dict[str, Any]:
    """A method at a path. Actions share one: their bodies are alternatives."""
    named = [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in parameters(one)]
    codes = {str(one.success): {"description": title_of(one.success)}, "default": {"description": f"A fault, as {service.name} words it"}}
    made: dict[str, Any] = {"tags": [service.type], "operationId": _id(service, one), "parameters": named, "responses": codes}
    if service.history is not None:
        version = {"name": "OpenStack-API-Version", "in": "header", "schema": {"type": "string"}, "example": f"{service.type} latest"}
        made["parameters"] = [*named, version]
    if one.policy != PUBLIC:
        made["security"] = [{TOKEN: []}]
    if one.stream:
        made["requestBody"] = {"content": {"application/octet-stream": {}}}
    return made


def _id(service: Service, one: Route) -> str:
    words = [service.type, one.method.lower(), *one.path.replace(":path", "").strip("/").split("/")]
    return "_".join("".join(letter if letter.isalnum() else "-" for letter in word.strip("{}")) for word in words if word)


def _add_body(operation: dict[str, Any], one: Route, schema: dict[str, Any]) -> None:
    kind = one.media[0] if one.media else "application/json"
    content = operation.setdefault("requestBody", {"required": True, "content": {}})["content"]
    alternatives = content.setdefault(kind, {"schema": {"anyOf": []}})["schema"]["anyOf"]
    if schema not in alternatives:
        alternatives.append(schema)
