"""Which services charge unified limits instead of quotas of their own, and what a project may have by them.

The settings are kept in the store, so that all processes of a cloud, and each transaction that charges, go by the same.
"""

from typing import Any

import msgspec

from pileus.config import Config
from pileus.core.limits import unregistered
from pileus.model.catalog import own_service_id
from pileus.model.limits import Allowance, QuotaSource
from pileus.store.database import Reader, Row, Transaction

REGISTERED = (
    "SELECT r.resource_name, r.default_limit, l.resource_limit, p.domain_id, d.resource_limit FROM registered_limits r"
    " LEFT JOIN projects p ON p.id = ?"
    " LEFT JOIN unified_limits l ON l.registered_limit_id = r.id AND (l.project_id = p.id OR l.domain_id = p.id)"
    " LEFT JOIN unified_limits d ON d.registered_limit_id = r.id AND d.domain_id = p.domain_id"
    " WHERE r.service_id = ? AND (r.region_id IS NULL OR r.region_id = ?)"
    " ORDER BY r.region_id IS NOT NULL, r.region_id"
)
"""Of every resource, that which is registered for the region last."""
_decoder = msgspec.json.Decoder(QuotaSource)


def sources_of(config: Config) -> dict[str, QuotaSource]:
    """Where the services look that have no quotas of their own."""
    said = config.unified_limits
    given: dict[str, Any] = {"region": config.region, "tree": config.limit_model == "strict_two_level"}
    found: dict[str, QuotaSource] = {}
    for service in said.services:
        more = {"strategy": said.strategy, "listed": said.resources} if service == "compute" else {}
        found[service] = QuotaSource(service_id=own_service_id(service), **given, **more)
    return found


async def set_sources(tx: Transaction, sources: dict[str, QuotaSource]) -> None:
    """These services and no others charge unified limits from now on."""
    rows = [(service, msgspec.json.encode(source).decode()) for service, source in sorted(sources.items())]
    if [tuple(row) for row in await tx.all("SELECT service, settings FROM quota_sources ORDER BY service")] != rows:
        await tx.execute("DELETE FROM quota_sources")
        await tx.many("INSERT INTO quota_sources (service, settings) VALUES (?, ?)", rows)


def source(settings: str) -> QuotaSource:
    """A source as it is kept."""
    return _decoder.decode(settings)


class Allowances:
    """What one project may have by unified limits."""

    def __init__(self, source: QuotaSource, rows: list[Row]) -> None:
        self._registered = {row[0]: row for row in rows}
        self._otherwise = unregistered(source)
        self._tree = source.tree

    def of(self, called: str) -> Allowance:
        """Of a resource, by its name as a unified limit."""
        row = self._registered.get(called)
        if row is None:
            return Allowance(limit=self._otherwise(called))
        _, default, own, domain_id, domains = row
        limit = default if own is None else own
        if not self._tree or domain_id is None:
            return Allowance(limit=limit)
        return Allowance(limit=limit, domain_id=domain_id, domain_limit=default if domains is None else domains)


async def allowances(db: Reader, source: QuotaSource, project_id: str) -> Allowances:
    """What a project may have of a service's resources."""
    return Allowances(source, await db.all(REGISTERED, project_id, source.service_id, source.region))
