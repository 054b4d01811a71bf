"""Check recorded exchanges against the schemas of requests, queries and responses that Keystone's release carries.

Runs in an environment of its own in which `keystone` (29 or later) is installed, and needs nothing of pileus:

    python3 -m venv keystone-environment && keystone-environment/bin/pip install keystone
    keystone-environment/bin/python tests/conformance/keystone_schemas.py EXCHANGES.jsonl

EXCHANGES.jsonl has a line {"method", "path", "query", "request", "status", "response"} for each; `path` begins with /v3.
Prints a line for each kind of breach with how often it was seen, and how many exchanges were checked; ends with 1 when there is a breach.
`tests/conformance/test_keystone_schemas.py` makes such a file and runs this when PILEUS_KEYSTONE_PYTHON names that environment's python.
"""

import collections
import json
import re
import sys
from typing import Any
from urllib.parse import parse_qsl

import jsonschema
import keystone.conf
import keystone.server
from keystone.server.flask import application
from werkzeug.exceptions import HTTPException

REQUEST, QUERY, RESPONSE = "_request_body_schema", "_request_query_schema", "_response_body_schema"
KNOWN = {
    "request credential: 'user_id' is a required property": "who makes a credential without saying for whom makes it for itself",
    "('color' was unexpected)": "attributes that a client adds are kept and shown, for domains as for all else",
    "('size' was unexpected)": "the same",
    "('color', 'size' were unexpected)": "the same",
}
"""What is wider here than in Keystone, by the end of the breach -> why."""
IDENTIFIER = re.compile(r"[0-9a-f]{32}|[0-9a-f-]{36}|req-\S+")


def functions() -> tuple[Any, dict[str, Any]]:
    """Keystone's map of addresses, and what answers at each."""
    keystone.conf.configure()
    keystone.conf.CONF([], project="keystone", default_config_files=[])
    app = application.application_factory()
    flask = next(one for one in (app, getattr(app, "app", None), getattr(app, "wsgi_app", None)) if hasattr(one, "url_map"))
    return flask.url_map.bind("localhost"), flask.view_functions


def function_of(exchange: dict[str, Any], addresses: Any, views: dict[str, Any]) -> Any:
    """The function of Keystone's that answers such a request; None when there is none."""
    method = "GET" if exchange["method"] == "HEAD" else exchange["method"]
    try:
        endpoint, _ = addresses.match(exchange["path"], method=method)
    except HTTPException:
        return None
    return getattr(getattr(views[endpoint], "view_class", None), method.lower(), None)


def breaches(exchange: dict[str, Any], function: Any) -> list[str]:
    """What Keystone would not have said, or not have accepted."""
    found = check(getattr(function, REQUEST, None), exchange["request"], "request")
    found += check(getattr(function, QUERY, None), dict(parse_qsl(exchange["query"], keep_blank_values=True)), "query")
    return found + check(getattr(function, RESPONSE, None), exchange["response"], "response")


def check(schema: Any, document: Any, what: str) -> list[str]:
    """Each place in which the document is not as the schema says."""
    if not schema or document is None:
        return []
    found = []
    for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
        place = "/".join("*" if isinstance(one, int) else str(one) for one in error.absolute_path)
        found.append(f"{what} {place}: {IDENTIFIER.sub('ID', error.message)[:200]}")
    return found


def main(path: str) -> int:
    """Check a file of exchanges."""
    with open(path) as file:
        exchanges = [json.loads(line) for line in file]
    addresses, views = functions()
    seen: collections.Counter[str] = collections.Counter()
    unknown: collections.Counter[str] = collections.Counter()
    checked = 0
    for exchange in exchanges:
        if exchange["path"].strip("/") == "v3":  # the version itself, which is another application of Keystone's
            continue
        name = f"{exchange['method']} {IDENTIFIER.sub('ID', exchange['path'])}"
        function = function_of(exchange, addresses, views)
        if function is None:
            unknown[name] += 1
            continue
        checked += any(getattr(function, kind, None) for kind in (REQUEST, QUERY, RESPONSE))
        seen.update(f"{name}: {line}" for line in breaches(exchange, function) if not line.endswith(tuple(KNOWN)))
    for line, count in [*seen.most_common(), *((f"{name}: Keystone has no such route", count) for name, count in unknown.most_common())]:
        print(f"{count} x {line}")
    print(f"{len(exchanges)} exchanges, {checked} with schemas, {sum(seen.values())} breaches, {sum(unknown.values())} without a route")
    return 1 if seen or unknown else 0


assert keystone.server
if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
