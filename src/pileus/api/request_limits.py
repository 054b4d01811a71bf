"""Fairness among tenants: one that asks for more than its share waits for its turn, or is told when to come again."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from pileus import clock
from pileus.core.request_limits import PATIENCE, turn
from pileus.model.errors import PileusError

MOST = 10_000
"""Tenants that are remembered before those whose buckets are full again are forgotten."""


class RequestLimits:
    """When the bucket of each tenant is full again. One for each Cloud Manager process; nothing of it outlives the process."""

    def __init__(
        self, rate: float = 0.0, clock: Callable[[], float] = clock.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.rate = rate
        self.waited = 0  # requests that waited for their turn
        self.refused = 0
        self._clock = clock
        self._sleep = sleep
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    async def enter(self, tenant: str) -> None:
        """Returns when it is the request's turn; a fault of status 429 says when to come again where that is too long."""
        now = self._clock()
        wait, full_at = turn(self._full_at.get(tenant, 0.0), now, self.rate)
        if wait > PATIENCE:
            self.refused += 1
            await self._sleep(PATIENCE)  # who asks again at once gains nothing, and costs others nothing
            seconds = max(1, math.ceil(wait - 2 * PATIENCE))
            words = f"This project asks for more than {self.rate:g} requests a second; try again in {seconds} s."
            raise PileusError(words, status=429, headers={"Retry-After": str(seconds)})
        if tenant not in self._full_at and len(self._full_at) >= MOST:
            self._full_at = {one: at for one, at in self._full_at.items() if at > now}
        self._full_at[tenant] = full_at
        if wait > 0:
            self.waited += 1
            await self._sleep(wait)
