"""What a route and a service are, and how a path finds its route."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from pileus.api.request import Request, Version
from pileus.model.base import Model

if TYPE_CHECKING:
    from pileus.api.versions import History

Handler = Callable[[Request], Awaitable[Any]]
Fault = Callable[[int, str, Request, dict[str, Any]], tuple[dict[str, str], bytes]]
PUBLIC = "public"


class Route(Model, frozen=True, kw_only=True):
    """One row of a service's table.

    `policy` is the action's name in the service's policy table, or PUBLIC for what needs no token. `body` is the struct of the whole JSON
    body; None where there is none. `action` is the body's single key, for the `/action` paths. `since` and `until` are the microversions
    in which the route exists. `stream`: the handler reads the body itself. `shape` names the document for the down-transforms.
    `media`: the media types of JSON that the body may have; none: whatever ends with "json".
    """

    method: str
    path: str
    handler: Handler
    policy: str
    body: Any = None
    action: str | None = None
    success: int = 200
    since: Version | None = None
    until: Version | None = None
    stream: bool = False
    shape: str = ""
    media: tuple[str, ...] = ()


def route(method: str, path: str, handler: Handler, policy: str, **rest: Any) -> Route:
    """A Route, written so that a table reads on one screen."""
    return Route(method=method, path=path, handler=handler, policy=policy, **rest)


class Service(msgspec.Struct, kw_only=True):
    """A service of the catalog: where it lies, its table of routes, its policy, how it says that something went wrong.

    `prefix` is the path's first part. `policy` maps an action to the name of a predicate (api/policy.py).
    `exact`: below its versions a slash at the end of a path is a name that is missing, and not found.
    `projects`: the id of the token's project may stand after the version, as older clients have it.
    `hidden` is asked before a refusal: it raises NotFound when the caller doesn't see what the path names.
    `endpoint` is the path in the catalog below the prefix. `refusal` begins the message about a body that is not valid.
    """

    prefix: str
    name: str  # keystone, nova, ...
    type: str  # identity, compute, ...
    routes: list[Route]
    policy: dict[str, str]
    fault: Fault
    endpoint: str = ""
    refusal: str = "Invalid input"
    history: "History | None" = None
    router: "Router | None" = None
    exact: bool = False
    projects: bool = False
    hidden: Handler | None = None

    def __post_init__(self) -> None:
        self.router = Router(self.routes)


class _Place:
    """A place in the tree of paths."""

    __slots__ = ("actions", "literal", "methods", "name", "parameter", "rest")

    def __init__(self) -> None:
        self.literal: dict[str, _Place] = {}
        self.parameter: _Place | None = None
        self.name = ""
        self.rest: _Place | None = None  # {name:path} takes all that is left
        self.methods: dict[str, list[Route]] = {}
        self.actions: dict[str, list[Route]] = {}


class Router:
    """Finds the routes of a path. A literal part wins over a parameter; `{name:path}` at the end takes the rest, slashes included."""

    def __init__(self, routes: list[Route]) -> None:
        self.root = _Place()
        for one in routes:
            self._add(one)

    def _add(self, one: Route) -> None:
        place = self.root
        for part in one.path.strip("/").split("/"):
            place = _descend(place, part)
        table = place.actions if one.action is not None else place.methods
        table.setdefault(one.action or one.method, []).append(one)

    def find(self, path: str) -> "tuple[_Place, list[str]] | None":
        """The place of a path with the values of its parameters in order, or None."""
        parts = path.strip("/").split("/")
        return _find(self.root, parts, 0, [])


def _descend(place: _Place, part: str) -> _Place:
    if part.startswith("{") and part.endswith(":path}"):
        place.rest = place.rest or _Place()
        return place.rest
    if part.startswith("{"):
        place.parameter = place.parameter or _Place()
        return place.parameter
    return place.literal.setdefault(part, _Place())


def _find(place: _Place, parts: list[str], index: int, values: list[str]) -> tuple[_Place, list[str]] | None:
    if index == len(parts):
        return (place, values) if place.methods or place.actions else None
    part = parts[index]
    if part in place.literal and (found := _find(place.literal[part], parts, index + 1, values)):
        return found
    if place.parameter and part and (found := _find(place.parameter, parts, index + 1, [*values, part])):
        return found
    if place.rest:
        return place.rest, [*values, "/".join(parts[index:])]
    return None


def parameters(one: Route) -> list[str]:
    """The names of a route's path parameters, in order."""
    return [part[1:-1].removesuffix(":path") for part in one.path.split("/") if part.startswith("{")]
