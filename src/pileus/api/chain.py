"""The way of every request, as one list of steps, from bytes to bytes."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from pileus import clock
from pileus.api import policy
from pileus.api.cloud import Cloud
from pileus.api.faults import status_of
from pileus.api.idempotency import remember, replay
from pileus.api.request import Request, Response, encode
from pileus.api.routes import PUBLIC, Route, Service, parameters
from pileus.core import json_bounds, request_ids
from pileus.model.errors import Forbidden, Invalid, NotFound, PileusError, TooLarge, Unauthorized, Unavailable, UnsupportedMediaType
from pileus.model.identity import Identity

log = logging.getLogger("pileus.api")
Step = Callable[[Request], Awaitable[Response | None]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
NO_BODY = (b"", None)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
PROJECT = re.compile(r"(/v[0-9.]+)(/[0-9a-f-]+)(?=/|$)")


async def find_service(request: Request) -> Response | None:
    """The first part of the path names the service."""
    first = request.path.lstrip("/").partition("/")[0]
    if first == "openapi.json":
        from pileus.api.openapi import encoded  # late: hardly anybody asks

        return Response(200, encoded(request.cloud.services), {"Content-Type": "application/json"})
    service = request.cloud.services.get(first)
    if service is None:
        raise NotFound(f"There is no service at /{first}.")
    request.service = service
    return None


async def authenticate(request: Request) -> Response | None:
    """The token, when there is one; routes that need none are told apart later."""
    token = request.headers.get("x-auth-token") or request.headers.get("x-storage-token")
    if token:
        try:
            request.identity = request.cloud.tokens.validate(token)
        except Unauthorized:
            request.notes["bad_token"] = True
    return None


async def wait_turn(request: Request) -> Response | None:
    """Fairness: a tenant that asks for more than its share is slowed down. The operator is never locked out of his cloud."""
    limits = request.cloud.request_limits
    if limits.rate > 0:
        identity: Identity | None = getattr(request, "identity", None)
        if identity is not None and not identity.is_admin:
            await limits.enter(identity.project_id or identity.user_id)
    return None


async def negotiate_version(request: Request) -> Response | None:
    """The microversion, for services that have them."""
    if request.service.history:
        request.version = request.service.history.maximum  # for a fault's headers, should this fail
        request.version = request.service.history.negotiate(request)
    return None


async def find_route(request: Request) -> Response | None:
    """Path, method, version and (where the body's key chooses) action."""
    service = request.service
    path = request.path.lstrip("/")[len(service.prefix) :]
    if service.projects and (project := PROJECT.match(path)):
        _own_project(request, project[2])
        path = project[1] + path[project.end() :]
    assert service.router  # made in __post_init__
    found = None if service.exact and path.endswith("/") and path.count("/") > 2 else service.router.find(path)
    if found is None:
        _who(request)
        raise NotFound("The resource could not be found.", type="HTTPNotFound", unknown_path=True)
    place, values = found
    method = "GET" if request.method == "HEAD" and "HEAD" not in place.methods else request.method
    candidates = place.methods.get(method, [])
    if place.actions and request.method == "POST":
        _who(request)
        candidates = place.actions.get(await _action(request), []) or candidates
        if not candidates:
            raise Invalid(f"There is no such action: {request.action}")
    if not candidates and not (place.actions and request.method == "POST"):
        allow: list[str] = sorted({*place.methods, "POST"} if place.actions else place.methods)
        raise PileusError(f"The method {request.method} is not allowed for this resource.", status=405, headers={"Allow": ", ".join(allow)})
    route = next((one for one in candidates if _exists(one, request)), None)
    if route is None:
        _who(request)
        raise NotFound("The resource could not be found.", type="HTTPNotFound", unknown_path=True)
    request.route = route
    request.params = dict(zip(parameters(route), values, strict=True))
    return None


async def enforce_policy(request: Request) -> Response | None:
    """The route's action, by the service's policy table."""
    action = request.route.policy
    if action == PUBLIC:
        return None
    _who(request)
    if not policy.reaches(request):
        raise Forbidden("The access rules of the token's application credential don't allow this request.")
    if not policy.allowed(request, action):
        if request.service.hidden:
            await request.service.hidden(request)
        raise Forbidden(f"Policy doesn't allow {action} to be performed.", action=action)
    return None


async def read_body(request: Request) -> Response | None:
    """The JSON body as the route's struct; an error names the field."""
    route = request.route
    if route.stream or request.method in ("GET", "HEAD"):
        return None
    raw = await _raw(request)
    if route.body is None:
        return None
    if raw is None:
        raise Invalid("The request needs a JSON body.")
    if request.service.history:
        raw = request.service.history.upgrade(request, route.shape or route.policy, raw)
    try:
        request.body = msgspec.convert(raw, route.body)
    except msgspec.ValidationError as error:
        raise Invalid(f"{request.service.refusal}: {error}", field=str(error).rpartition("`$")[2].rstrip("`")) from error
    return None


async def run_handler(request: Request) -> Response | None:
    """The route's handler; what it returns is the document, or a Response of its own."""
    result = await request.route.handler(request)
    response = result if isinstance(result, Response) else Response(request.route.success, result)
    history = request.service.history
    if history and response.body is not None and not isinstance(response.body, bytes | msgspec.Raw):
        response.body = history.downgrade(request, request.route.shape, response.body)
    return history.downgrade_answer(request, request.route.shape, response) if history else response


CHAIN: list[Step] = [
    find_service, authenticate, wait_turn, negotiate_version, find_route, enforce_policy, read_body, replay, run_handler,
]  # fmt: skip


NO_THREAD = "can't start new thread"
"""What Python says when there is no memory for another thread's stack."""


def _unforeseen(request: Request, error: Exception) -> PileusError:
    """What the client is told of an error that is none of ours: to try again where memory ran out, else where the rest is written."""
    if isinstance(error, MemoryError) or NO_THREAD in str(error):
        log.error("%s %s: no memory is left for it", request.method, request.path)
        return Unavailable("The cloud's control plane has no memory left for this; try again later, or ask for less.")
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return PileusError("Unexpected error; the log of the control plane has it under this request's id.", status=500)


class App:
    """The ASGI application. `websockets` maps a path to what speaks there; `lifespan` is left to whoever serves it."""

    def __init__(self, cloud: Cloud, websockets: Mapping[str, Callable[..., Awaitable[None]]] | None = None) -> None:
        self.cloud = cloud
        self.websockets = websockets or {}

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        try:
            request = Request(self.cloud, scope, receive)
        except PileusError as error:
            await _send_plain(send, status_of(error), error.message)
            return
        request_ids.CURRENT.set(request.id)
        began = clock.monotonic()
        response = await self.answer(request)
        for watch in self.cloud.watchers:
            watch(request, response, clock.monotonic() - began)
        await _send(request, response, send)

    async def answer(self, request: Request) -> Response:
        """The response to a request; never raises."""
        try:
            response: Response | None = None
            for step in CHAIN:
                response = await step(request)
                if response is not None:
                    break
            assert response is not None  # the last step always answers
        except PileusError as error:
            response = fault(request, error)
        except Exception as error:
            response = fault(request, _unforeseen(request, error))
        await remember(request, response)
        return response

    async def _websocket(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        speaker = self.websockets.get(scope["path"].rstrip("/"))
        if speaker is None:
            await receive()
            await send({"type": "websocket.close", "code": 4404})
            return
        await speaker(self.cloud, scope, receive, send)


def fault(request: Request, error: PileusError) -> Response:
    """An error in the shape of the request's service."""
    status = status_of(error)
    request.notes["error"] = type(error).__name__
    words = error.message
    if "public" in error.data:  # the whole is for the operator
        words = str(error.data["public"])
        log.warning("%s %s: %s", request.method, request.path, error.message)
    service: Service | None = getattr(request, "service", None)
    if service is None:
        return Response(status, {"error": {"code": status, "message": words}})
    headers, body = service.fault(status, words, request, error.data)
    headers = {**headers, **error.data.get("headers", {})}
    if status == 401:
        headers["WWW-Authenticate"] = f'Keystone uri="{request.base_url}/identity"'
    return Response(status, body, headers)


def _who(request: Request) -> None:
    if getattr(request, "identity", None) is None:
        raise Unauthorized("The request you have made requires authentication.")


def _own_project(request: Request, part: str) -> None:
    _who(request)
    if part[1:] != request.identity.project_id:
        raise Invalid(f"Malformed request URL: its project {part[1:]} is not the token's, {request.identity.project_id}.")
    request.project_path = part


def _exists(one: Route, request: Request) -> bool:
    return (one.since is None or request.version >= one.since) and (one.until is None or request.version <= one.until)


async def _action(request: Request) -> str:
    raw = await _raw(request)
    if not isinstance(raw, dict) or len(raw) != 1:
        raise Invalid("The body of an action is an object with one key, the action's name.")
    request.action = str(next(iter(raw)))  # pyright: ignore[reportUnknownArgumentType]
    return request.action


async def _raw(request: Request) -> Any:
    if request.raw is None and "read" not in request.notes:
        request.notes["read"] = True
        data = await _bytes(request)
        request.notes["bytes"] = data
        if data.strip():
            _check_media(request)
            try:
                raw = msgspec.json.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Invalid(f"Malformed request body: {error}") from error
            if json_bounds.worth_a_look(data) and (broken := json_bounds.problem(raw)):
                raise Invalid(f"Malformed request body: {broken}.")
            request.raw = raw
    return request.raw


def _check_media(request: Request) -> None:
    route: Route | None = getattr(request, "route", None)
    accepted = route.media if route else ()
    kind = request.headers.get("content-type", "" if accepted else "application/json").partition(";")[0].strip().lower()
    if accepted and kind not in accepted:
        words = ", ".join(accepted)
        raise UnsupportedMediaType(f"Unsupported Content-Type {kind or '(none)'}; use {words}.", headers={"Accept-Patch": words})
    if kind and not accepted and not kind.endswith("json"):
        raise UnsupportedMediaType(f"Unsupported Content-Type {kind}; use application/json.")


async def _bytes(request: Request) -> bytes:
    limit = request.cloud.config.body_limit
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > limit):
        raise TooLarge(f"The body has {length} bytes; at most {limit} are accepted.")
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"The body is longer than {limit} bytes.")
        parts.append(chunk)
    return b"".join(parts)


async def _send(request: Request, response: Response, send: Send) -> None:
    headers = {"x-openstack-request-id": request.id, **response.headers}
    service = getattr(request, "service", None)
    if service is not None:
        if service.type == "compute":
            headers["x-compute-request-id"] = request.id
        if service.history:
            headers |= service.history.answer_headers(request.version)
    body = response.body
    if body is None or isinstance(body, bytes | msgspec.Raw) or not hasattr(body, "__aiter__"):
        data = b"" if body is None else bytes(body) if isinstance(body, bytes | msgspec.Raw) else encode(body)
        if data and "Content-Type" not in headers:
            headers["Content-Type"] = "application/json"
        if response.status != 204:
            headers.setdefault("Content-Length", str(len(data)))
        await _start(send, response.status, headers)
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else data})
        return
    await _start(send, response.status, headers)
    await _stream(request, body, send)


async def _stream(request: Request, body: AsyncIterator[bytes], send: Send) -> None:
    if request.method != "HEAD":
        gone = asyncio.ensure_future(request.disconnected())  # a server drops what is sent to nobody without a word
        try:
            async for chunk in body:
                if gone.done():
                    break
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            gone.cancel()
            if isinstance(body, AsyncGenerator):
                await body.aclose()
    await send({"type": "http.response.body", "body": b""})


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    # Names of users stand in some values (Location): what would end a header's line is not passed on.
    lines = [(name.lower().encode("latin-1"), CONTROL.sub("", value).encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})


async def _send_plain(send: Send, status: int, message: str) -> None:
    await _start(send, status, {"Content-Type": "application/json"})
    await send({"type": "http.response.body", "body": encode({"error": {"code": status, "message": message}})})
