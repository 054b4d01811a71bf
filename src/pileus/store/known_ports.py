"""Ports of networks that are read again and again: only those that have changed since are read whole and decoded."""

from collections import OrderedDict
from typing import Any

from pileus.model.ports import Port
from pileus.store.database import Reader, Row
from pileus.store.ports import PORTS

MOST = 10_000
"""Ports that are kept, some 1.5 KiB each; the networks that were read longest ago go first."""
CHUNK = 500
MARK = "SELECT id, generation, created_at, status, host, migrating_to, project_id, fixed_ips FROM ports"
"""Whatever changes in a row changes one of these: a write makes a new generation, or is of a column that is named here."""


class KnownPorts:
    """What was read of each set of networks, and of each host's part of them, the last time."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._count = 0
        self._known: OrderedDict[tuple[str, ...], dict[str, tuple[Row, Port]]] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    async def of(self, db: Reader, networks: tuple[str, ...]) -> list[Port]:
        """The ports on these networks by id, but for those of floating addresses."""
        within = f"network_id IN ({', '.join('?' * len(networks)) or 'NULL'}) AND device_owner <> 'network:floatingip' ORDER BY id"
        return await self.where(db, networks, within, *networks)

    async def where(self, db: Reader, key: tuple[str, ...], within: str, *args: Any) -> list[Port]:
        """The ports for which a condition holds, of which `key` is the name."""
        before = self._known.pop(key, {})
        self._count -= len(before)
        marks = {row[0]: tuple(row) for row in await db.all(f"{MARK} WHERE {within}", *args)}
        changed = [id for id, mark in marks.items() if id not in before or before[id][0] != mark]
        fresh: dict[str, Port] = {}
        if len(changed) > CHUNK:
            fresh = {port.id: port for port in await PORTS.find(db, within, *args)}
        elif changed:
            fresh = {port.id: port for port in await PORTS.find(db, f"id IN ({', '.join('?' * len(changed))})", *changed)}
        # A row is read after its mark: it is as new as that, or newer, and is then read once more the next time.
        after: dict[str, tuple[Row, Port]] = {}
        again = set(changed)
        for id, mark in marks.items():
            if id not in again:
                after[id] = before[id]
            elif id in fresh:  # else it is gone by now
                after[id] = mark, fresh[id]
        self._keep(key, after)
        return [port for _, port in after.values()]

    def _keep(self, key: tuple[str, ...], found: dict[str, tuple[Any, Port]]) -> None:
        if not 0 < len(found) <= self._most:
            return
        self._count += len(found) - len(self._known.get(key, {}))  # who waited for the database meanwhile has read it as well
        self._known[key] = found
        while self._count > self._most:
            self._count -= len(self._known.popitem(last=False)[1])
