"""Networks in the store: insert with a VNI, who may see and use them, removal."""

from typing import Any

import msgspec

from pileus import clock
from pileus.model.errors import Conflict, Invalid
from pileus.model.networks import Network, RbacPolicy
from pileus.store.database import Reader, Transaction
from pileus.store.quotas import charge
from pileus.store.tables import ResourceTable

NETWORKS = ResourceTable("networks", Network)
RBAC_POLICIES = ResourceTable("network_rbac_policies", RbacPolicy)
LARGEST_VNI = (1 << 24) - 1

GRANTED = "SELECT object_id FROM network_rbac_policies WHERE action = ? AND target_project IN (?, '*')"
USABLE = f"(networks.project_id = ? OR networks.shared = 1 OR networks.id IN ({GRANTED}))"
VISIBLE = f"({USABLE} OR networks.external = 1 OR networks.id IN ({GRANTED}))"


def usable_args(project_id: str | None) -> list[Any]:
    """The arguments of USABLE."""
    return [project_id, "access_as_shared", project_id]


def visible_args(project_id: str | None) -> list[Any]:
    """The arguments of VISIBLE."""
    return [*usable_args(project_id), "access_as_external", project_id]


async def get_visible(db: Reader, network_id: str, project_id: str | None, admin: bool = False) -> Network | None:
    """The network when the project may see it, else None."""
    if admin:
        return await NETWORKS.get(db, network_id)
    return await NETWORKS.first(db, f"networks.id = ? AND {VISIBLE}", network_id, *visible_args(project_id))


async def available_networks(db: Reader, project_id: str) -> list[Network]:
    """The networks that a server of the project is plugged to when it names none: its own and shared ones, none to the outside."""
    where = f"{USABLE} AND networks.external = 0 ORDER BY networks.created_at, networks.id"
    return await NETWORKS.find(db, where, *usable_args(project_id))


async def may_use(db: Reader, network: Network, project_id: str | None) -> bool:
    """Whether the project may plug ports to the network: it owns it, or it was given to it."""
    if network.shared or network.project_id == project_id:
        return True
    return await db.value(f"{GRANTED} AND object_id = ? LIMIT 1", "access_as_shared", project_id, network.id) is not None


async def insert_network(tx: Transaction, network: Network) -> Network:
    """Add a network; takes quota, and a VNI when it is a VXLAN that names none."""
    await charge(tx, network.project_id, network=1)
    if network.network_type == "vxlan" and network.segmentation_id is None:
        network = msgspec.structs.replace(network, segmentation_id=await _free_vni(tx))
    await check_segment(tx, network)
    now = clock.now()
    network = msgspec.structs.replace(network, created_at=now, updated_at=now)
    return await NETWORKS.insert(tx, network)


async def check_segment(tx: Transaction, network: Network) -> None:
    """Conflict when another network has the VNI or the physical network."""
    if network.network_type == "flat":
        seen = await tx.value(
            "SELECT id FROM networks WHERE network_type = 'flat' AND physical_network = ? AND id <> ?", network.physical_network, network.id
        )
        if seen is not None:
            raise Conflict(
                f"Unable to create the flat network. Physical network {network.physical_network} is in use.", type="FlatNetworkInUse"
            )
    elif network.segmentation_id is not None:
        if not 1 <= network.segmentation_id <= LARGEST_VNI:
            raise Invalid(f"Invalid input for operation: segmentation_id out of range (1 through {LARGEST_VNI}).", type="InvalidInput")
        seen = await tx.value(
            "SELECT id FROM networks WHERE network_type = 'vxlan' AND segmentation_id = ? AND id <> ?", network.segmentation_id, network.id
        )
        if seen is not None:
            raise Conflict(f"Unable to create the network. The tunnel ID {network.segmentation_id} is in use.", type="TunnelIdInUse")


async def _free_vni(tx: Transaction) -> int:
    highest = await tx.value("SELECT max(segmentation_id) FROM networks WHERE network_type = 'vxlan'")
    if highest is None or highest < LARGEST_VNI:
        return int(highest or 0) + 1
    gap = await tx.value(
        "SELECT a.segmentation_id + 1 FROM networks a WHERE a.network_type = 'vxlan' AND a.segmentation_id < ? AND NOT EXISTS "
        "(SELECT 1 FROM networks b WHERE b.network_type = 'vxlan' AND b.segmentation_id = a.segmentation_id + 1) ORDER BY 1 LIMIT 1",
        LARGEST_VNI,
    )
    if gap is None:
        return 1
    return int(gap)


async def remove_network(tx: Transaction, network_id: str) -> None:
    """Remove a network with its grants and tags; its subnets and ports must be gone."""
    await tx.execute("DELETE FROM network_rbac_policies WHERE object_id = ?", network_id)
    await tx.execute("DELETE FROM network_tags WHERE resource_id = ?", network_id)
    await NETWORKS.delete(tx, network_id)
