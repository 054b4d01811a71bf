"""The actions resize, confirmResize and revertResize: another flavor, tried out first."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus.api.compute import fields, flavors
from pileus.api.compute import servers as resource
from pileus.api.compute.server_actions import Rule, check_state, perform
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound
from pileus.model.flavors import Flavor
from pileus.model.migrations import MigrationKind, NewMigration
from pileus.model.servers import Resize, ResizeStep, Server
from pileus.store import actions, migration_records, quotas, servers
from pileus.store.database import Transaction


def _to(step: ResizeStep) -> Any:
    """A change of the step; a server that has moved for it is in its migration's hands again."""

    def change(server: Server) -> dict[str, Any]:
        assert server.resize is not None  # its vm_state says so
        resize = msgspec.structs.replace(server.resize, step=step)
        return {"resize": resize, "migration": resize.migration if resize.moved else None}

    return change


RESIZE = Rule(name="resize", states=("active", "stopped"), change=lambda server: {})
CONFIRM = Rule(name="confirmResize", states=("resized",), change=_to(ResizeStep.CONFIRM))
REVERT = Rule(name="revertResize", states=("resized",), change=_to(ResizeStep.REVERT))


class NewFlavor(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The flavor to change to."""

    flavor_ref: Annotated[str, Meta(min_length=1)] | int = msgspec.field(name="flavorRef")
    disk_config: fields.DiskConfig | msgspec.UnsetType = msgspec.field(name="OS-DCF:diskConfig", default=msgspec.UNSET)


class ResizeBody(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action resize."""

    resize: NewFlavor


async def resize(request: Request) -> None:
    """The action resize: the server starts again with the new flavor and waits for a word about it: on its host when that has room,
    else on another."""
    wanted: NewFlavor = request.body.resize
    try:
        flavor = await flavors.visible(request, str(wanted.flavor_ref))
    except NotFound as error:
        raise Invalid(error.message, field="flavorRef") from error

    async def work(tx: Transaction) -> Server:
        server = await resource.unlocked(request, tx)
        check_state(server, RESIZE)
        _check(server, flavor)
        old, new = quotas.classes_of(server.flavor), quotas.classes_of(flavor.frozen())
        more = {"cores": flavor.vcpus - server.vcpus, "ram": flavor.ram - server.memory_mib}
        more |= {name: amount - old.get(name, 0) for name, amount in new.items()}
        await quotas.charge(tx, server.project_id, **more)
        await actions.start(tx, server.id, "resize", request.id, request.identity.user_id, server.project_id)
        made = NewMigration(
            new_flavor_id=flavor.id, user_id=request.identity.user_id, project_id=request.identity.project_id, request_id=request.id
        )
        migration = await migration_records.start(tx, server, MigrationKind.RESIZE, made)
        asked = Resize(step=ResizeStep.CLAIM, old=server.flavor, new=flavor.frozen(), migration=migration.id)
        mode = {} if wanted.disk_config is msgspec.UNSET else {"disk_config": wanted.disk_config}
        return await servers.save(tx, server, fault=None, request_id=request.id, resize=asked, **mode)

    server = await request.cloud.db.write(work)
    request.cloud.wake("servers", server.id)


def _check(server: Server, flavor: Flavor) -> None:
    if flavor.frozen() == server.flavor:
        raise Invalid("When resizing, instances must change flavor!", field="flavorRef")
    if flavor.disk < server.flavor.disk:
        raise Invalid("Resize to a flavor with a smaller root disk is not allowed.", field="flavorRef")
    if (flavor.ephemeral, flavor.swap) != (server.flavor.ephemeral, server.flavor.swap):
        raise Invalid("Resize can't change the ephemeral disk or swap of an instance.", field="flavorRef")
    if flavor.ram < int(server.image.get("min_ram") or 0):
        raise Invalid("Flavor's memory is too small for requested image.", field="flavorRef")


async def confirm(request: Request) -> None:
    """The action confirmResize: the new flavor stays."""
    await _decide(request, CONFIRM)


async def revert(request: Request) -> None:
    """The action revertResize: the old flavor comes back, with another restart; a server that has moved goes back to the copy of before."""
    await _decide(request, REVERT)


async def _decide(request: Request, rule: Rule) -> None:
    server = await perform(request, rule)
    assert server.resize is not None  # just written
    request.cloud.wake("migrations", server.resize.migration)
