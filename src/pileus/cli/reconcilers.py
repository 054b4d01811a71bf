"""The reconcilers of a Cluster Manager."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pileus.api.cloud import Cloud
from pileus.api.image.content import ingest_file
from pileus.bus.local import Bus
from pileus.reconcile.availability import Availability
from pileus.reconcile.hosts import Hosts
from pileus.reconcile.migrations import Migrations
from pileus.reconcile.readings import Readings
from pileus.reconcile.routing import Routing
from pileus.reconcile.scope import EVERYTHING, Scope
from pileus.reconcile.servers import Servers


def reconcilers(cloud: Cloud, bus: Bus, wake: Callable[[str, str], None], scope: Scope = EVERYTHING) -> list[Any]:
    """One for each kind of resource that is brought towards what is wanted, of what is in the scope."""

    async def ingest(image_id: str, file: Path) -> None:
        await ingest_file(cloud, image_id, file)

    routing = Routing(cloud.db, bus, wake, cloud.config.physical_networks, cloud.config.node_silence)
    servers = Servers(cloud.db, bus, cloud.config, wake, ingest)
    servers.tells = routing.tells
    made: list[Any] = [
        Hosts(cloud.db, bus, cloud.config, wake),
        routing,
        servers,
        Migrations(cloud.db, bus, cloud.config, wake),
        Availability(cloud.db, bus, cloud.config, wake),
    ]
    readings = Readings()
    for one in made:
        one.scope, one.readings = scope, readings
    return made
