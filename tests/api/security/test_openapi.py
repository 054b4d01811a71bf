"""The API's own OpenAPI document: it is valid, has every route, and what schemathesis makes of it is never answered by a server error."""

import json
import os
import warnings
from typing import Any
from urllib.parse import quote, urlencode

import hypothesis
import pytest
import schemathesis

from pileus.api.openapi import document
from tests.api.harness import TestCloud, services

EXAMPLES = int(os.environ.get("PILEUS_EXAMPLES", "1"))
AWAY = ("/console/", "/cluster/v1/content/", "/cluster/v1/snapshots/")  # they stream, or wait for a host


@schemathesis.serializer("application/openstack-images-v2.1-json-patch", "application/openstack-images-v2.0-json-patch")
def json_patch(context: Any, value: Any) -> bytes:
    return json.dumps(value).encode()


def operations() -> list[Any]:
    """Every operation of the document."""
    schema = schemathesis.openapi.from_dict(document(services()))
    return [one.ok() for one in schema.get_all_operations()]


def test_the_document_is_served_and_has_every_route(shared_cloud: TestCloud) -> None:
    answer = shared_cloud.call("GET", "/openapi.json", token="nobody")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    paths = json.loads(answer.body)["paths"]
    for service in services().values():
        for route in service.routes:
            path = f"/{service.prefix}{route.path}".replace(":path}", "}").rstrip("/")
            operation = paths[path][route.method.lower()]
            assert (route.policy == "public") == ("security" not in operation) or route.action is not None
            assert route.body is None or operation["requestBody"]["content"]
    names = [one["operationId"] for place in paths.values() for one in place.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("who", ["member", "admin"])
@pytest.mark.parametrize("tag", sorted(service.type for service in services().values()))
def test_no_example_of_an_operation_is_answered_by_a_server_error(shared_cloud: TestCloud, ids: dict[str, str], tag: str, who: str) -> None:
    failures: list[str] = []

    def attempt(case: Any) -> None:
        known = ids if tag != "identity" or case.method == "GET" else {}  # who asks must stay who it is
        values = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
        path = case.operation.path
        for name, value in values.items():
            path = path.replace("{" + name + "}", quote(str(value), safe=""))
        if case.query:
            path += "?" + urlencode(case.query, doseq=True)
        body = case.body if isinstance(case.body, dict | list | str | int | float | bool | None) else None
        headers = {"Content-Type": case.media_type} if body is not None and case.media_type else None
        answer = shared_cloud.call(case.method, path, token=who, json=body, headers=headers)
        if answer.status >= 500 and answer.status not in (501, 503):
            failures.append(f"{case.method} {path} {json.dumps(body)[:500]}: {answer.status} {answer.body[:300]!r}")

    for operation in operations():
        if tag not in operation.tags or operation.path.startswith(AWAY):
            continue
        if operation.method.upper() == "DELETE" and any(name in operation.path for name in ("{project_id}", "{user_id}", "{server_id}")):
            continue  # what the others are about stays
        once = hypothesis.settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES == 1, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            once(hypothesis.given(operation.as_strategy())(attempt))()
    assert failures == []
