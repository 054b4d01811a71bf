"""What is not done yet: a clear 501 that names it, and the ways of old that lead nowhere. The list is in docs/gaps/compute.md."""

from pileus.api.compute import servers as resource
from pileus.api.request import Request
from pileus.api.routes import Handler
from pileus.model.errors import Gone, NotImplementedYet


def of_server(what: str) -> Handler:
    """A handler for an action of a server that is not done yet; whose server it is, is looked at first."""

    async def handler(request: Request) -> None:
        await resource.visible(request, request.cloud.db)
        raise NotImplementedYet(f"{what} is not done yet; see the list of gaps in the documentation.")

    return handler


def missing(what: str) -> Handler:
    """A handler for what is not done yet."""

    async def handler(request: Request) -> None:
        raise NotImplementedYet(f"{what} is not done yet; see the list of gaps in the documentation.")

    return handler


async def gone(request: Request) -> None:
    """A way that Nova has closed."""
    raise Gone("This resource is no longer available. No forwarding address is given.")
