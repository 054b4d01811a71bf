"""POST /servers/{server_id}/action. Each action checks that the server is in a state for it, and writes what is wanted; nothing more."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pileus import clock
from pileus.api import policy
from pileus.api.compute import servers as resource
from pileus.api.request import Request
from pileus.core.servers import fault_of
from pileus.model.base import Model
from pileus.model.errors import Conflict, NotImplementedYet
from pileus.model.guests import Power
from pileus.model.servers import Server
from pileus.store import actions, servers
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS
from pileus.store.ports import ports_of

Changes = dict[str, Any]
SETTLED = ("active", "stopped", "paused", "suspended")


class Rule(Model, frozen=True, kw_only=True):
    """An action: its name in a server's history and in Nova's messages, the vm_states it is for, what it changes.

    `busy`: the task_states in which it is accepted too.
    """

    name: str
    states: tuple[str, ...]
    change: Callable[[Server], Changes]
    busy: tuple[str, ...] = ()


START = Rule(name="start", states=("stopped",), change=lambda server: {"power": Power.RUNNING})
STOP = Rule(name="stop", states=("active", "error"), change=lambda server: {"power": Power.STOPPED})
PAUSE = Rule(name="pause", states=("active",), change=lambda server: {"power": Power.PAUSED})
UNPAUSE = Rule(name="unpause", states=("paused",), change=lambda server: {"power": Power.RUNNING})
SUSPEND = Rule(name="suspend", states=("active",), change=lambda server: {"power": Power.SUSPENDED})
RESUME = Rule(name="resume", states=("suspended",), change=lambda server: {"power": Power.RUNNING})
SOFT = Rule(name="reboot", states=("active",), change=lambda server: {"reboots_soft": server.reboots_soft + 1})
HARD = Rule(
    name="reboot",
    states=(*SETTLED, "error"),
    change=lambda server: {"reboots_hard": server.reboots_hard + 1, "power": Power.RUNNING},
    busy=("rebooting", "rebooting_hard", "powering-off", "pausing", "unpausing", "suspending", "resuming"),
)


class RebootKind(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SOFT asks the guest, HARD does not."""

    type: Literal["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]


class Reboot(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action reboot."""

    reboot: RebootKind


class LockReason(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a server is locked."""

    locked_reason: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class Lock(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action lock."""

    lock: LockReason | None


class StateName(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state that a server is to be in, as far as the records go."""

    state: Literal["active", "error"]


class ResetState(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action os-resetState."""

    reset: StateName = msgspec.field(name="os-resetState")


async def perform(request: Request, rule: Rule, changes: Changes | None = None) -> Server:
    """Write what an action wants and begin its history; wakes the reconciler. A fault of the past is forgotten."""

    async def work(tx: Transaction) -> Server:
        server = await resource.unlocked(request, tx)
        check_state(server, rule)
        await actions.start(tx, server.id, rule.name, request.id, request.identity.user_id, server.project_id)
        wanted = {**rule.change(server), **(changes or {})}
        return await servers.save(tx, server, **{"fault": None, "request_id": request.id, **wanted})

    server = await request.cloud.db.write(work)
    request.cloud.wake("servers", server.id)
    return server


def check_state(server: Server, rule: Rule) -> None:
    """Conflict unless the server is in a state for the action."""
    if server.vm_state not in rule.states:
        raise Conflict(f"Cannot '{rule.name}' instance {server.id} while it is in vm_state {server.vm_state}", vm_state=server.vm_state)
    if server.host is None:
        raise Conflict(f"Instance {server.id} is not ready: it was never placed on a host.")
    if server.task_state is not None and server.task_state not in rule.busy:
        raise Conflict(f"Cannot '{rule.name}' instance {server.id} while it is in task_state {server.task_state}")


async def start(request: Request) -> None:
    """The action os-start."""
    await perform(request, START)


async def stop(request: Request) -> None:
    """The action os-stop."""
    await perform(request, STOP)


async def reboot(request: Request) -> None:
    """The action reboot."""
    await perform(request, HARD if request.body.reboot.type.upper() == "HARD" else SOFT)


async def pause(request: Request) -> None:
    """The action pause."""
    await _needs(request, "pause")
    await perform(request, PAUSE)


async def unpause(request: Request) -> None:
    """The action unpause."""
    await perform(request, UNPAUSE)


async def suspend(request: Request) -> None:
    """The action suspend."""
    await _needs(request, "suspend")
    await perform(request, SUSPEND)


async def resume(request: Request) -> None:
    """The action resume."""
    await perform(request, RESUME)


async def lock(request: Request) -> None:
    """The action lock: a lock over a lock changes its reason."""
    reason = request.body.lock.locked_reason if request.body.lock else None
    who = "admin" if request.identity.is_admin else "owner"
    await _mark(request, "lock", {"locked": True, "locked_reason": reason, "locked_by": who})


async def unlock(request: Request) -> None:
    """The action unlock. What an administrator has locked, only an administrator unlocks."""
    server = await resource.visible(request, request.cloud.db)
    if server.locked_by == "admin":
        policy.require(request, "os_compute_api:os-lock-server:unlock:unlock_override")
    await _mark(request, "unlock", {"locked": False, "locked_reason": None, "locked_by": None})


async def reset_state(request: Request) -> None:
    """The action os-resetState: takes a fault away, or puts one on. What the guest really does shows in the status as before."""
    server = await resource.visible(request, request.cloud.db)
    error = request.body.reset.state == "error"
    fault = fault_of(server, "The state was set to error by an administrator.", clock.now()) if error else None
    await _mark(request, "resetState", {"fault": fault})


async def inject_network_info(request: Request) -> None:
    """The action injectNetworkInfo: the server's networks are looked at again, and realized anew where they differ."""
    server = await resource.visible(request, request.cloud.db)
    for network in {port.network_id for port in (await ports_of(request.cloud.db, [server.id]))[server.id]}:
        request.cloud.wake("routing", network)
    request.cloud.wake("servers", server.id)


async def force_delete(request: Request) -> None:
    """The action forceDelete: there is no delayed deletion, so it is a deletion."""
    await resource.delete(request)


async def restore(request: Request) -> None:
    """The action restore: there is no delayed deletion, so nothing is ever to be restored."""
    server = await resource.visible(request, request.cloud.db)
    raise Conflict(f"Cannot 'restore' instance {server.id} while it is in vm_state {server.vm_state}")


async def _mark(request: Request, name: str, changes: Changes) -> Server:
    """A change that no node hears of, locked or not."""

    async def work(tx: Transaction) -> Server:
        server = await resource.visible(request, tx)
        await actions.start(tx, server.id, name, request.id, request.identity.user_id, server.project_id)
        await actions.finish(tx, server.id, request.id, f"api_{name}")
        return await servers.save(tx, server, **changes)

    server = await request.cloud.db.write(work)
    request.cloud.wake("servers", server.id)
    return server


async def _needs(request: Request, feature: str) -> None:
    """NotImplementedYet when the hypervisor of the server says that it can't."""
    server = await resource.visible(request, request.cloud.db)
    if server.host is None or server.observed is None:
        return
    host = await HOSTS.first(request.cloud.db, "name = ?", server.host)
    drivers = host.report.capabilities if host and host.report else []
    drivers = [one for one in drivers if one.driver == server.observed.hypervisor]
    if drivers and feature not in drivers[0].features:
        raise NotImplementedYet(f"The server's hypervisor, {drivers[0].driver}, can't {feature} guests.")
