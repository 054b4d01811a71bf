"""Every route of every service, tried by every persona.

A service takes part with a file `tests/api/access/<folder of the service in pileus.api>.py` that holds

* `ACCESS`: action (the `policy` of a route, as in the service's policy table) -> the personas that the action is open to by their
  role alone (sets in `tests/api/access/__init__.py`). A route whose action does not stand there fails the test. Routes with the
  policy PUBLIC need no entry, but stand in `OPEN` (a set) as "METHOD path": whoever asks may use them.
* `belongings(cloud)`: makes resources in project demo and returns requests [(method, path, body or None)] about them. A member of
  another project must be answered 404 (or 403) by each, as if there were nothing.

`other_project_member` has the role member in a project of its own, so by role it may what `member` may; what keeps it out is `belongings`.
"""

import asyncio
import importlib
from types import ModuleType
from typing import Any

import pytest

from pileus.api import chain
from pileus.api.request import Request, encode
from pileus.api.routes import PUBLIC, Route, Service
from pileus.model.errors import Forbidden, NotFound, PileusError, Unauthorized
from tests.api.harness import FOLDERS, PERSONAS, TestCloud, services

STEPS = chain.CHAIN[: chain.CHAIN.index(chain.enforce_policy) + 1]


def folder_of(service: Service) -> str:
    """The folder of a service in pileus.api."""
    for folder in FOLDERS:
        try:
            module = importlib.import_module(f"pileus.api.{folder}.routes")
        except ModuleNotFoundError:
            continue
        if module.SERVICE is service:
            return folder
    raise AssertionError(f"{service.name} is in no folder of tests.api.harness.FOLDERS")


def expected(service: Service) -> ModuleType:
    """The service's declarations."""
    folder = folder_of(service)
    name = f"tests.api.access.{folder}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        pytest.fail(f"tests/api/access/{folder}.py is missing: it says who may use the routes of {service.name}")


def address(service: Service, route: Route) -> str:
    """A path that leads to the route."""
    parts = ["x1" if part.startswith("{") else part for part in route.path.strip("/").split("/")]
    return f"/{service.prefix}/{'/'.join(parts)}"


def outcome(cloud: TestCloud, service: Service, route: Route, token: str | None) -> str:
    """`allowed`, `forbidden` or `unauthorized`: what the chain says up to the policy."""
    body = b"" if route.action is None else encode({route.action: None})
    headers = [(b"host", b"cloud.test"), (b"content-type", b"application/json")]
    if token:
        headers.append((b"x-auth-token", token.encode()))
    if service.history:
        version = route.until or service.history.maximum
        headers.append((b"openstack-api-version", f"{service.history.header} {version[0]}.{version[1]}".encode()))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    scope = {"type": "http", "method": route.method, "path": address(service, route), "headers": headers, "query_string": b""}

    async def run() -> str:
        request = Request(cloud.cloud, scope, receive)
        try:
            for step in STEPS:
                await step(request)
        except Unauthorized:
            return "unauthorized"
        except Forbidden:
            return "forbidden"
        except NotFound as error:
            return "forbidden" if service.hidden and not error.data.get("unknown_path") else error.message
        except PileusError as error:
            return f"{type(error).__name__}: {error.message}"
        return "allowed" if request.route is route else f"another route: {request.route.method} {request.route.path} {request.route.action}"

    return asyncio.run(run())


@pytest.fixture(scope="module")
def tokens(shared_cloud: TestCloud) -> dict[str, str | None]:
    """A token for each persona."""
    return {persona: None if persona == "nobody" else shared_cloud.token(persona) for persona in PERSONAS}


@pytest.mark.parametrize("service", services().values(), ids=services())
def test_every_route_is_open_to_just_the_declared_personas(
    service: Service, shared_cloud: TestCloud, tokens: dict[str, str | None]
) -> None:
    declared = expected(service)
    wrong: list[str] = []
    for route in service.routes:
        line = f"{route.method} {route.path}" + (f" {route.action}" if route.action else "")
        if route.policy == PUBLIC:
            if line not in declared.OPEN:
                wrong.append(f"{line}: is public, but does not stand in OPEN")
            continue
        if route.policy not in declared.ACCESS:
            wrong.append(f"{line}: its action {route.policy} does not stand in ACCESS")
            continue
        for persona, token in tokens.items():
            right = "allowed" if persona in declared.ACCESS[route.policy] else "unauthorized" if token is None else "forbidden"
            seen = outcome(shared_cloud, service, route, token)
            if seen != right:
                wrong.append(f"{line} ({route.policy}): {persona} should be {right}, is {seen}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("service", services().values(), ids=services())
def test_what_is_declared_exists(service: Service) -> None:
    declared = expected(service)
    assert sorted(set(declared.ACCESS) - set(service.policy)) == []
    assert sorted({route.policy for route in service.routes} - set(service.policy) - {PUBLIC}) == []


@pytest.mark.parametrize("service", services().values(), ids=services())
def test_another_project_finds_nothing(service: Service, cloud: TestCloud) -> None:
    token = cloud.token("other_project_member")
    wrong = [
        f"{method} {path}: {answer}"
        for method, path, body in expected(service).belongings(cloud)
        if (answer := cloud.call(method, path, token=token, json=body)).status not in (403, 404)
    ]
    assert not wrong, "\n".join(wrong)
