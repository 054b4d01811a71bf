"""The handlers that serve every kind of resource: list, show, create (one or many), update, delete."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pileus.api.network.attributes import parse_body, refused
from pileus.api.network.kinds import Call, Kind, owns
from pileus.api.network.listing import list_documents, pick
from pileus.api.request import Request, Response
from pileus.api.routes import Handler, Route, route
from pileus.model.errors import Invalid, PileusError, QuotaExceeded
from pileus.store.database import Transaction

T = TypeVar("T")


def crud(kind: Kind) -> list[Route]:
    """The routes of a kind, under /v2.0."""
    path = f"/v2.0/{kind.path}"
    found = [
        route("GET", path, list_handler(kind), f"get_{kind.name}"),
        route("GET", f"{path}/{{id}}", show_handler(kind), f"get_{kind.name}"),
    ]
    if kind.create:
        found.append(route("POST", path, create_handler(kind), f"create_{kind.name}", success=201))
    if kind.update:
        found.append(route("PUT", f"{path}/{{id}}", update_handler(kind), f"update_{kind.name}"))
    if kind.delete:
        found.append(route("DELETE", f"{path}/{{id}}", delete_handler(kind), f"delete_{kind.name}"))
    return found


def list_handler(kind: Kind) -> Handler:
    """GET of the collection."""

    async def index(request: Request) -> dict[str, Any]:
        return await list_documents(request, kind)

    return index


def show_handler(kind: Kind) -> Handler:
    """GET of one."""

    async def show(request: Request) -> dict[str, Any]:
        row = await kind.load(request, request.cloud.db, request.params["id"])
        return {kind.name: await document(request, kind, row)}

    return show


def create_handler(kind: Kind) -> Handler:
    """POST of one, or of a list of which all are made or none."""

    async def create(request: Request) -> dict[str, Any]:
        bodies, many = _bodies(request, kind)
        parsed = [parse_body(request, kind.name, kind.by_name, body, creating=True) for body in bodies]
        for values in parsed:
            _check_project(request, values)
        assert kind.create is not None
        make = kind.create

        async def work(call: Call) -> list[Any]:
            rows: list[Any] = []
            for body, values in zip(bodies, parsed, strict=True):
                call.given = frozenset(body)
                rows.append(await make(call, values))
            return rows

        rows = await write(request, work)
        documents = [pick(request, kind, one) for one in await kind.views(request, rows)]
        return {kind.plural: documents} if many else {kind.name: documents[0]}

    return create


def update_handler(kind: Kind) -> Handler:
    """PUT of one: what the body does not name stays."""

    async def update(request: Request) -> dict[str, Any]:
        raw = body_of(request, kind.name)
        values = parse_body(request, kind.name, kind.by_name, raw, creating=False)
        assert kind.update is not None
        change = kind.update

        async def work(call: Call) -> Any:
            row = await kind.load(request, call.tx, request.params["id"])
            if not owns(request, row):
                raise refused(f"update_{kind.name}")
            check_revision(request, row.generation)
            return await change(call, row, values)

        row = await write(request, work)
        return {kind.name: await document(request, kind, row)}

    return update


def delete_handler(kind: Kind) -> Handler:
    """DELETE of one."""

    async def delete(request: Request) -> Response:
        assert kind.delete is not None
        remove = kind.delete

        async def work(call: Call) -> None:
            row = await kind.load(request, call.tx, request.params["id"])
            may = owns(request, row) or (kind.may_delete is not None and await kind.may_delete(call, row))
            if not may:
                raise refused(f"delete_{kind.name}")
            check_revision(request, row.generation)
            await remove(call, row)

        await write(request, work)
        return Response(204)

    return delete


async def document(request: Request, kind: Kind, row: Any) -> dict[str, Any]:
    """One resource as this caller may see it."""
    return pick(request, kind, (await kind.views(request, [row]))[0])


async def write(request: Request, work: Callable[[Call], Awaitable[T]]) -> T:
    """Run a write, then wake the reconciler for what it touched. A quota that is used up is a 409 here."""
    calls: list[Call] = []

    async def run(tx: Transaction) -> T:
        calls.append(Call(request, tx))
        return await work(calls[-1])

    try:
        result = await request.cloud.db.write(run)
    except QuotaExceeded as error:
        names = sorted(error.data.get("resources", []))
        raise QuotaExceeded(f"Quota exceeded for resources: {names}.", **{**error.data, "status": 409, "type": "OverQuota"}) from error
    for id in sorted(calls[-1].wakes):
        request.cloud.wake("routing", id)
    for id in sorted(calls[-1].servers):
        request.cloud.wake("servers", id)
    return result


def body_of(request: Request, name: str) -> Any:
    """What stands under a body's key."""
    if not isinstance(request.raw, dict):
        raise Invalid("Resource body required")
    if name not in request.raw:
        raise Invalid(f"Unable to find '{name}' in request body")
    return request.raw[name]  # pyright: ignore[reportUnknownVariableType]


def check_revision(request: Request, revision: int) -> None:
    """If-Match: revision_number=N holds, or nothing happens."""
    text = request.headers.get("if-match")
    if text is None:
        return
    name, _, number = text.partition("=")
    if name.strip() != "revision_number" or not re.fullmatch(r"[0-9]{1,18}", number.strip()):
        raise Invalid("If-Match must be revision_number=NUMBER")
    if int(number) != revision:
        raise PileusError(
            f"Constrained to {number.strip()}, but current revision is {revision}", status=412, type="RevisionNumberConstraintFailed"
        )


def _bodies(request: Request, kind: Kind) -> tuple[list[Any], bool]:
    raw: Any = request.raw
    if isinstance(raw, dict) and kind.plural in raw and kind.name not in raw:
        many: Any = raw[kind.plural]  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(many, list) or not many:
            raise Invalid("Resources required")
        return many, True  # pyright: ignore[reportUnknownVariableType]
    return [body_of(request, kind.name)], False


def _check_project(request: Request, values: dict[str, Any]) -> None:
    wanted = values.get("project_id")
    if wanted and wanted != request.identity.project_id and not request.identity.is_admin:
        raise Invalid(
            "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin privileges",
            field="project_id",
        )
