"""Looks now and then at who of a directory has logged in lately: tokens end soon after their user was disabled or left a group there."""

import asyncio
import logging

from pileus import clock
from pileus.api.cloud import Cloud
from pileus.api.identity import directories
from pileus.model.errors import PileusError

log = logging.getLogger("pileus.directories")
EVERY = 300.0
"""Seconds between two looks."""
LATELY = 2 * 86400.0
"""Seconds: longer than a token lives and a day, after which a login is noted again."""
RECENT = (
    "SELECT u.id FROM users u JOIN directory_ids d ON d.id = u.id JOIN domain_options o ON o.domain_id = u.domain_id"
    " WHERE o.section = 'identity' AND o.option = 'driver' AND o.value = '\"ldap\"' AND u.enabled = 1 AND u.last_active_at > ?"
    " ORDER BY u.domain_id, u.id"
)


class DirectoryWatch:
    """One of a Cloud Manager process."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
            except Exception:
                log.exception("the users of directories could not be looked at")

    async def look(self) -> None:
        """Everybody who has logged in lately, one after the other. Of a directory that does not answer the rest is left for later."""
        silent: set[str] = set()
        for (key,) in await self.cloud.db.all(RECENT, clock.now() - LATELY):
            entry = await directories.entry_of(self.cloud.db, key)
            if entry is None or entry.domain_id in silent:
                continue
            try:
                await directories.see_groups_of(self, key)
            except PileusError:  # which is in the log already
                silent.add(entry.domain_id)
