"""Regions, services and endpoints that operators keep beside those that pileus serves itself."""

from pileus.model.catalog import CatalogService, Endpoint, Region
from pileus.store.database import Transaction
from pileus.store.tables import ResourceTable

REGIONS = ResourceTable("regions", Region)
SERVICES = ResourceTable("catalog_services", CatalogService)
ENDPOINTS = ResourceTable("catalog_endpoints", Endpoint)


async def delete_service(tx: Transaction, service_id: str) -> bool:
    """Remove a service with its endpoints; False when there was none."""
    await tx.execute("DELETE FROM catalog_endpoints WHERE service_id = ?", service_id)
    return await SERVICES.delete(tx, service_id)
