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
    """What was read of each set of networks the last time."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, ...], dict[str, tuple[Row, Port]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    async def of(self, db: Reader, networks: tuple[str, ...]) -> list[Port]:
        """The ports on these networks by id, but for those of floating addresses."""
        before = self._known.pop(networks, {})
        within = f"network_id IN ({', '.join('?' * len(networks)) or 'NULL'}) AND device_owner <> 'network:floatingip' ORDER BY id"
        marks = {row[0]: tuple(row) for row in await db.all(f"{MARK} WHERE {within}", *networks)}
        changed = [id for id, mark in marks.items() if id not in before or before[id][0] != mark]
        fresh: dict[str, Port] = {}
        if len(changed) > CHUNK:
            fresh = {port.id: port for port in await PORTS.find(db, within, *networks)}
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
        self._keep(networks, after)
        return [port for _, port in after.values()]

    def _keep(self, networks: tuple[str, ...], found: dict[str, tuple[Any, Port]]) -> None:
        if len(found) > MOST:
            return
        self._known[networks] = found
        while len(self) > MOST:
            self._known.popitem(last=False)
