"""Check recorded exchanges against Nova's own schemas of queries, requests and responses, and its status codes.

Runs in an environment of its own in which `nova` (34 or later) is installed, and needs nothing of pileus:

    python3 -m venv nova-environment && nova-environment/bin/pip install nova
    nova-environment/bin/python tests/conformance/nova_schemas.py EXCHANGES.json

EXCHANGES.json is a list of {"method", "path", "version", "query", "request", "status", "response"}; `path` is below /v2.1.
Prints a line for each breach and the number of exchanges that were checked; ends with 1 when there is a breach.
`tests/conformance/test_nova_schemas.py` makes such a file and runs this when PILEUS_NOVA_PYTHON names that environment's python.
"""

import json
import sys
from typing import Any
from urllib.parse import parse_qs

from nova.api.openstack import api_version_request, wsgi
from nova.api.openstack.compute import routes
from nova.api.validation import validators

ANSWERS_BY_ITSELF = {("PUT", "tags", 201)}
"""Statuses that a function of Nova's sets itself, whatever its table says: a tag that is new."""
REQUEST, QUERY, RESPONSE = "request_body_schemas", "request_query_schemas", "response_body_schemas"


class Asked:
    """As much of a request as Nova's tables look at."""

    def __init__(self, version: str) -> None:
        self.api_version_request = api_version_request.APIVersionRequest(version)


def table() -> list[tuple[list[str], str, Any]]:
    """(path parts, method, (controller class and its extensions, function name))."""
    found = []
    for path, methods in routes.ROUTE_LIST:
        if isinstance(methods, str):
            continue
        for method, (controller, action) in methods.items():
            found.append((path.strip("/").split("/"), method, ([controller.args[0], *controller.args[1]], action)))
    return sorted(found, key=lambda row: sum(part.startswith("{") for part in row[0]))


def function_of(exchange: dict[str, Any], rows: list[tuple[list[str], str, Any]]) -> Any:
    """The function of Nova's that answers such a request, or None."""
    parts = exchange["path"].strip("/").split("/")
    for pattern, method, (classes, action) in rows:
        if method != exchange["method"] or len(pattern) != len(parts):
            continue
        if all(want.startswith("{") or want == part for want, part in zip(pattern, parts, strict=True)):
            if action != "action":
                return getattr(classes[0], action, None)
            name = next(iter(exchange["request"]))
            for one in classes:
                if name in one.wsgi_actions:
                    return getattr(one, one.wsgi_actions[name])
    return None


def schema_of(function: Any, kind: str, asked: Asked) -> Any:
    """The function's schema for this version, or None."""
    schemas = getattr(function, kind, None)
    return schemas(asked) if schemas is not None else None


def breaches(exchange: dict[str, Any], function: Any) -> list[str]:
    """What Nova would not have said, or not have accepted."""
    asked = Asked(exchange["version"])
    found = []
    if exchange["status"] < 300:
        codes = getattr(function, "wsgi_codes", None)
        expected = codes(asked) if codes is not None else 200
        own = (exchange["method"], exchange["path"].strip("/").split("/")[-2:][0], exchange["status"])
        if exchange["status"] != expected and own not in ANSWERS_BY_ITSELF:
            found.append(f"status {exchange['status']}, Nova answers {expected}")
        found += check(schema_of(function, REQUEST, asked), exchange["request"], "request")
        found += check(schema_of(function, QUERY, asked), parse_qs(exchange["query"]), "query")
        found += check(schema_of(function, RESPONSE, asked), exchange["response"], "response")
    return found


def check(schema: Any, document: Any, what: str) -> list[str]:
    """Each place in which the document is not as the schema says."""
    if not schema or (document is None and what == "request"):
        return []
    validator = validators._SchemaValidator(schema, is_body=True)
    return [
        f"{what} {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in validator.validator.iter_errors(document)
    ]


def main(path: str) -> int:
    """Check a file of exchanges."""
    with open(path) as file:
        exchanges = json.load(file)
    rows = table()
    bad = unknown = 0
    for exchange in exchanges:
        name = f"{exchange['method']} {exchange['path']}?{exchange['query']} at {exchange['version']}"
        function = function_of(exchange, rows)
        if function is None:
            unknown += 1
            print(f"{name}: Nova has no such route")
            continue
        for line in breaches(exchange, function):
            bad += 1
            print(f"{name}: {line}")
    print(f"{len(exchanges)} exchanges checked, {bad} breaches, {unknown} without a route of Nova's")
    return 1 if bad or unknown else 0


assert wsgi
if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
