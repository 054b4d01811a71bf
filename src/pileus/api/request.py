"""A request on its way through the chain, and what a handler may answer."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from pileus import clock
from pileus.model.errors import Invalid
from pileus.model.identity import Identity

if TYPE_CHECKING:
    from pileus.api.cloud import Cloud
    from pileus.api.routes import Route, Service

Version = tuple[int, int]
LONGEST_QUERY = 64 << 10
LONGEST_PATH = 8 << 10
MOST_HEADERS = 200
IDLE_SECONDS = 60.0
"""For which a client may send nothing of a body that it has announced."""
SLOWEST = 256
"""Bytes a second that a body must bring on average, once it has taken longer than IDLE_SECONDS."""
LAST = {"Connection": "close"}
"""Headers of an answer that comes before the body's end: what is left of it is not waited for."""


class Response:
    """A status with a body: a document (encoded as JSON), bytes, a stream of bytes, or nothing."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}


class Request:
    """One call of the API. `params` are the path's, `query` the query's (last value wins; `queries` keeps all)."""

    __slots__ = (
        "_receive",
        "_scope",
        "action",
        "body",
        "cloud",
        "headers",
        "id",
        "identity",
        "method",
        "notes",
        "params",
        "path",
        "project_path",
        "queries",
        "query",
        "raw",
        "received_at",
        "route",
        "service",
        "version",
    )

    def __init__(self, cloud: "Cloud", scope: dict[str, Any], receive: Callable[[], Awaitable[Any]]) -> None:
        self._scope = scope
        self._receive = receive
        self.cloud = cloud
        self.id = f"req-{uuid.uuid4()}"
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.project_path = ""  # a slash and the project's id, where the client put it into the path
        if len(scope["headers"]) > MOST_HEADERS:
            raise Invalid(f"The request has {len(scope['headers'])} headers; at most {MOST_HEADERS} are accepted.", status=431)
        if len(self.path) > LONGEST_PATH:
            raise Invalid(f"The path is longer than {LONGEST_PATH} characters.", status=414)
        self.headers: dict[str, str] = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.queries: list[tuple[str, str]] = _queries(scope.get("query_string", b""))
        self.query: dict[str, str] = dict(self.queries)
        if "\0" in self.path or any("\0" in name or "\0" in value for name, value in self.queries):
            raise Invalid("A path or query has no NUL character.")
        self.params: dict[str, str] = {}
        self.service: Service
        self.route: Route
        self.action: str | None = None
        self.identity: Identity
        self.version: Version = (0, 0)
        self.raw: Any = None  # the body as plain lists and dicts
        self.body: Any = None  # the body as the route's struct
        self.received_at = clock.now()
        self.notes: dict[str, Any] = {}  # what one step leaves for a later one

    @property
    def base_url(self) -> str:
        """The address of this listener as the client sees it, without a slash at the end."""
        if self.cloud.config.public_url:
            return self.cloud.config.public_url.rstrip("/")
        scheme = self._scope.get("scheme", "http")
        return f"{scheme}://{self.headers.get('host') or self.cloud.config.listen}"

    @property
    def service_url(self) -> str:
        """The address of the service, such as http://127.0.0.1:5000/compute."""
        return f"{self.base_url}/{self.service.prefix}"

    @property
    def remote_address(self) -> str:
        """The address that the request came from."""
        client = self._scope.get("client")
        return client[0] if client else ""

    @property
    def project_id(self) -> str:
        """The project of the token; Invalid when it has none."""
        if self.identity.project_id is None:
            raise Invalid("The token is not scoped to a project; this request needs one.")
        return self.identity.project_id

    def all_queries(self, name: str) -> list[str]:
        """Every value of a query parameter, in order."""
        return [value for key, value in self.queries if key == name]

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in chunks; Invalid when the client goes away before its end, or sends so slowly that it would hold us for ever."""
        began, size = clock.monotonic(), 0
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    message = await self._receive()
            except TimeoutError as error:
                raise Invalid(f"Nothing of the body came for {IDLE_SECONDS:g} seconds.", status=408, headers=LAST) from error
            if message["type"] == "http.disconnect":
                raise Invalid("The client closed the connection before the end of the body.", disconnected=True)
            if chunk := message.get("body", b""):
                size += len(chunk)
                yield chunk
            if message.get("more_body") and (taken := clock.monotonic() - began) > IDLE_SECONDS and size < taken * SLOWEST:
                raise Invalid(f"The body came at less than {SLOWEST} bytes a second.", status=408, headers=LAST)
            if not message.get("more_body"):
                return

    async def disconnected(self) -> None:
        """Returns when the client has gone away. Call it only once the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _queries(raw: bytes) -> list[tuple[str, str]]:
    if not raw:
        return []
    if len(raw) > LONGEST_QUERY:
        raise Invalid(f"The query string is longer than {LONGEST_QUERY} bytes.", status=414)
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=500, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise Invalid("The query string is not valid: it must be URL-encoded UTF-8 with at most 500 fields.") from error


def encode(document: Any) -> bytes:
    """A document as JSON."""
    return msgspec.json.encode(document)
