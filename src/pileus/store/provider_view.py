"""All resource providers in memory, brought up to date before each use by reading only the rows that changed since.

The store stays the truth: whoever acts on what is seen here writes `WHERE generation = seen`. Epochs grow in the order of commits
(`providers.next_epoch`), so a row whose epoch is larger than the newest one seen is all that there is to read.
"""

import asyncio
from weakref import WeakKeyDictionary

from pileus.core.provider_forest import Forest
from pileus.store.database import Database
from pileus.store.providers import PROVIDERS


class ProviderView:
    """The providers of one database."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.forest = Forest()
        self.epoch = 0
        self.removals = 0
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Read what changed."""
        async with self._lock:
            row = await self.db.one("SELECT value, removals FROM placement_epoch")
            epoch, removals = (0, 0) if row is None else (int(row[0]), int(row[1]))
            if epoch == self.epoch:
                return
            for provider in await PROVIDERS.find(self.db, "changed > ?", self.epoch):
                self.forest.put(provider)
            if removals != self.removals:
                present = {row[0] for row in await self.db.all("SELECT id FROM resource_providers")}
                for provider_id in [one for one in self.forest.providers if one not in present]:
                    self.forest.drop(provider_id)
            self.epoch, self.removals = epoch, removals


_views: "WeakKeyDictionary[Database, ProviderView]" = WeakKeyDictionary()


async def view_of(db: Database) -> ProviderView:
    """The view of a database, up to date."""
    view = _views.get(db)
    if view is None:
        view = _views[db] = ProviderView(db)
    await view.refresh()
    return view
