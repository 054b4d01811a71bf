"""The API of a cloud with a plan of faults: some requests are refused, some are answered late."""

import asyncio
import re
from typing import Any

from pileus.api.chain import App, fault, find_service
from pileus.api.request import Request, Response
from pileus.model.errors import PileusError
from pileus.simulation.dice import Dice
from pileus.simulation.plan import ApiFaults, drawn

AGENT = "pileus"
"""User-Agent of our own commands, which are spared: `up` prepares the cloud, whatever is planned for its users."""
_IDS = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


class FaultyApp(App):
    """An outcome is drawn for the method and the path without its ids: how often a client looks at a server changes nothing of what
    becomes of its next write."""

    def __init__(self, *arguments: Any, plan: ApiFaults, dice: Dice) -> None:
        super().__init__(*arguments)
        self.plan = plan
        self.dice = dice

    async def answer(self, request: Request) -> Response:
        """The response to a request; never raises."""
        services = self.plan.services
        if request.headers.get("user-agent") == AGENT or (services and request.path.lstrip("/").partition("/")[0] not in services):
            return await super().answer(request)
        source = self.dice.next("api", request.method, _IDS.sub("*", request.path))
        refused, slow = source.random() < self.plan.refuses, source.random() < self.plan.slow
        if slow:
            await asyncio.sleep(drawn(self.plan.delay, source))
        if refused:
            return await _refusal(request, self.plan.status)
        return await super().answer(request)


async def _refusal(request: Request, status: int) -> Response:
    """In the shape of the service."""
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    error = PileusError("The service can't answer now; try again (asked for by the plan of faults).", status=status, headers=headers)
    try:
        await find_service(request)
    except PileusError:
        pass  # there is no such service: any shape will do
    return fault(request, error)
