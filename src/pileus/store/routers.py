"""Routers in the store."""

from pileus.model.ports import ROUTER_INTERFACE, Port
from pileus.model.routers import Router
from pileus.store.database import Reader
from pileus.store.ports import PORTS
from pileus.store.tables import ResourceTable

ROUTERS = ResourceTable("routers", Router)


async def interfaces_of(db: Reader, router_id: str) -> list[Port]:
    """A router's inner legs, oldest first."""
    return await PORTS.find(db, "device_owner = ? AND device_id = ? ORDER BY created_at, id", ROUTER_INTERFACE, router_id)
