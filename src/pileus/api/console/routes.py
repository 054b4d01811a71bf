"""The pages of the consoles and their files."""

from functools import lru_cache
from importlib import resources

from pileus.api.faults import nova_fault
from pileus.api.request import Request, Response
from pileus.api.routes import PUBLIC, Service, route
from pileus.model.errors import NotFound

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css",
    ".txt": "text/plain; charset=utf-8",
}
POLICY_OF_CONTENT = "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
HEADERS = {
    "Referrer-Policy": "no-referrer",  # the address carries the token
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": POLICY_OF_CONTENT,
}


@lru_cache(maxsize=32)
def _files() -> dict[str, bytes]:
    folder = resources.files("pileus.api.console") / "static"
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}


def _answer(name: str) -> Response:
    data = _files().get(name)
    kind = KINDS.get(name[name.rfind(".") :])
    if data is None or kind is None:
        raise NotFound(f"There is no file {name}.")
    cache = "no-store" if kind.startswith("text/html") else "max-age=3600"
    return Response(200, data, {**HEADERS, "Content-Type": kind, "Cache-Control": cache})


async def vnc(request: Request) -> Response:
    """GET /console/vnc: the page that shows a screen."""
    return _answer("vnc.html")


async def serial(request: Request) -> Response:
    """GET /console/serial: the page that shows a terminal."""
    return _answer("serial.html")


async def static(request: Request) -> Response:
    """GET /console/static/{name}."""
    return _answer(request.params["name"])


SERVICE = Service(
    prefix="console",
    name="console",
    type="",  # not in the catalog
    fault=nova_fault,
    policy={},
    routes=[
        route("GET", "/vnc", vnc, PUBLIC),
        route("GET", "/serial", serial, PUBLIC),
        route("GET", "/static/{name}", static, PUBLIC),
    ],
)
