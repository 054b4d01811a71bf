"""What one Cluster Manager's reconcilers answer for: the hosts of its cluster; and, in one of them all, what no host has yet."""

from collections.abc import Callable

from pileus import clock
from pileus.store.database import Database

FRESH = 10.0
"""Seconds after which the hosts of a cluster are read again; one that is not known is looked up at once."""


class Scope:
    """`cluster` None: all there is, as in a cloud of one process. `places`: whether servers without a host are placed here."""

    def __init__(self, db: Database | None = None, cluster: str | None = None, places: Callable[[], bool] = lambda: True) -> None:
        self.cluster = cluster
        self.places = places
        self._db = db
        self._clusters: dict[str, str] = {}
        self._read_at = 0.0

    async def owns(self, host: str | None) -> bool:
        """Whether what is on this host, or on none, is ours to reconcile."""
        if host is None:
            return self.places()
        if self.cluster is None:
            return True
        if host not in self._clusters or clock.monotonic() > self._read_at + FRESH:
            assert self._db is not None  # a cluster's scope has the store
            self._clusters = {row[0]: row[1] for row in await self._db.all("SELECT name, cluster FROM hosts")}
            self._read_at = clock.monotonic()
        return self._clusters.get(host) == self.cluster

    def hears(self, cluster: str) -> bool:
        """Whether reports of this cluster's hosts are ours to record."""
        return self.cluster in (None, cluster)


EVERYTHING = Scope()
