"""Who tells a host of its domains at the moment: of what two say at once it keeps what was read later, and neither knows which that is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pileus.model.routing import RoutingDomain

Took = Callable[[str, RoutingDomain, str], bool]
"""(host, domain, the host's digest of it): the host has it as it was sent, and nobody else told it anything meanwhile. Returns whether
that is all there is to do about it."""


class Tell:
    """What is being said to one host."""

    def __init__(self) -> None:
        self.alone = True


class Tells:
    """What is being said to each host. Without `took`, each domain that came with a guest is looked at once more."""

    def __init__(self, took: Took = lambda host, domain, digest: False) -> None:
        self.took = took
        self._now: dict[str, list[Tell]] = {}

    @contextmanager
    def telling(self, host: str) -> Iterator[Tell]:
        """From before the store is read until the host has answered. `alone` is True as long as nobody else told it anything."""
        tell = Tell()
        others = self._now.setdefault(host, [])
        others.append(tell)
        if len(others) > 1:
            for one in others:
                one.alone = False
        try:
            yield tell
        finally:
            others.remove(tell)
            if not others:
                del self._now[host]
