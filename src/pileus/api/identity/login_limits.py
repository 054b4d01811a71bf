"""Limits on logins that fail, in this process's memory: which user at which address has to wait before a password is looked at."""

import contextlib
import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator

from pileus import clock
from pileus.core import login_limits as core
from pileus.core.login_limits import CloudFailures, Failures
from pileus.model.errors import PileusError

log = logging.getLogger("pileus.identity")
MOST = 10_000
"""Pairs that are remembered; of more, those that failed longest ago are forgotten."""


class Attempt:
    """A login that is being looked at; `right` says how it ended."""

    def __init__(self) -> None:
        self.right: bool | None = None


class LoginLimits:
    """What failed lately. One for each Cloud Manager process; nothing of it outlives the process."""

    def __init__(self, clock: Callable[[], float] = clock.monotonic) -> None:
        self._clock = clock
        self._pairs: OrderedDict[bytes, Failures] = OrderedDict()
        self._cloud = CloudFailures()

    def __len__(self) -> int:
        return len(self._pairs)

    @contextlib.contextmanager
    def attempt(self, who: str, address: str) -> Iterator[Attempt]:
        """Around the look at a password; raises a fault of status 429, which says when to come again, before it.

        `who` is the user's id, or what the client calls a user that is not there: both are treated alike, so that it tells nothing.
        """
        key = hashlib.sha256(f"{who}\0{core.source_of(address)}".encode(errors="replace")).digest()[:16]
        now = self._clock()
        wait = core.wait_of(self._pairs.get(key, Failures()), self._cloud, now)
        if wait > 0:
            seconds = math.ceil(wait)
            words = f"Too many logins have failed; try again in {seconds} second{'s' if seconds > 1 else ''}."
            raise PileusError(words, status=429, headers={"Retry-After": str(seconds)})
        self._keep(key, core.begun(self._pairs.get(key, Failures()), now), now)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            self._end(key, attempt.right)

    def _end(self, key: bytes, right: bool | None) -> None:
        now = self._clock()
        before = self._pairs.get(key, Failures(pending=1))
        after = core.given_up(before) if right is None else core.ended(before, right, now)
        if right is False:
            self._cloud = core.raised(self._cloud, now)
            if after.count in (core.FREE, 10 * core.FREE):
                log.warning("%d logins of one user from one address have failed in a row", after.count)
        self._keep(key, after, now)

    def _keep(self, key: bytes, failures: Failures, now: float) -> None:
        """The newest stand last. The oldest go when there are too many, and when there is nothing left to know of them."""
        if core.forgotten(failures, now):
            self._pairs.pop(key, None)
        else:
            self._pairs[key] = failures
            self._pairs.move_to_end(key)
        while self._pairs:
            oldest = next(iter(self._pairs))
            if len(self._pairs) <= MOST and not core.forgotten(self._pairs[oldest], now):
                return
            del self._pairs[oldest]
