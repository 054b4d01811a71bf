"""Mappings: how attributes of an identity provider's users become names, groups and roles here."""

from typing import Any

from msgspec import UNSET, UnsetType

from pileus.api.identity.documents import Document, collection, duplicate, found, fresh, self_link, write
from pileus.api.identity.identity_providers import check_id
from pileus.api.request import Request
from pileus.core.mapping_rules import check_rules
from pileus.model.base import Model
from pileus.model.federation import Mapping
from pileus.store.database import Reader, Transaction
from pileus.store.federation import MAPPINGS


class GivenMapping(Model, frozen=True, kw_only=True):
    """The rules of a mapping; `core/mapping_rules.py` says what they look like."""

    rules: Any
    schema_version: str | UnsetType | None = UNSET


class PutMapping(Model, frozen=True, kw_only=True):
    """PUT, PATCH /v3/OS-FEDERATION/mappings/{id}."""

    mapping: GivenMapping


def _document(request: Request, one: Mapping) -> Document:
    links = self_link(request, "OS-FEDERATION", "mappings", one.id)
    return {"id": one.id, "rules": one.rules, "schema_version": one.schema_version, "links": links}


async def _find(request: Request, db: Reader) -> Mapping:
    key = request.params["mapping_id"]
    return found(await MAPPINGS.get(db, key), "mapping", key)


async def list_mappings(request: Request) -> Document:
    """GET /v3/OS-FEDERATION/mappings."""
    rows = await MAPPINGS.find(request.cloud.db, "1 = 1 ORDER BY id")
    return collection(request, "mappings", [_document(request, row) for row in rows])


async def show_mapping(request: Request) -> Document:
    """GET /v3/OS-FEDERATION/mappings/{mapping_id}."""
    return {"mapping": _document(request, await _find(request, request.cloud.db))}


def _checked(request: Request) -> dict[str, Any]:
    given: GivenMapping = request.body.mapping
    version = given.schema_version or "1.0"
    check_rules(given.rules, version)
    return {"rules": given.rules, "schema_version": version}


async def create_mapping(request: Request) -> Document:
    """PUT /v3/OS-FEDERATION/mappings/{mapping_id}."""
    key = request.params["mapping_id"]
    check_id(key)
    one = Mapping(**fresh(key), **_checked(request))

    async def work(tx: Transaction) -> Mapping:
        if await MAPPINGS.get(tx, key) is not None:
            raise duplicate("mapping", key)
        return await MAPPINGS.insert(tx, one)

    return {"mapping": _document(request, await write(request, work))}


async def update_mapping(request: Request) -> Document:
    """PATCH /v3/OS-FEDERATION/mappings/{mapping_id}: other rules in the place of those that are there."""
    sent = _checked(request)

    async def work(tx: Transaction) -> Mapping:
        return await MAPPINGS.update(tx, await _find(request, tx), **sent)

    return {"mapping": _document(request, await write(request, work))}


async def remove_mapping(request: Request) -> None:
    """DELETE /v3/OS-FEDERATION/mappings/{mapping_id}."""

    async def work(tx: Transaction) -> None:
        await MAPPINGS.delete(tx, (await _find(request, tx)).id)

    await write(request, work)
