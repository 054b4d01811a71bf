"""Actions of servers in the store: `start` in the transaction that changes what is wanted, `finish` when it is done."""

import uuid
from typing import TypedDict, Unpack

from pileus import clock
from pileus.model.actions import Action, ActionEvent
from pileus.store.database import Reader, Transaction
from pileus.store.tables import Table

ACTIONS = Table("server_actions", Action)
EVENTS = Table("server_action_events", ActionEvent)


async def start(
    tx: Transaction, server_id: str, action: str, request_id: str, user_id: str | None = None, project_id: str | None = None
) -> Action:
    """Record that something was asked of a server."""
    now = clock.now()
    record = Action(
        id=str(uuid.uuid4()),
        server_id=server_id,
        request_id=request_id,
        action=action,
        user_id=user_id,
        project_id=project_id,
        started_at=now,
        updated_at=now,
    )
    return await ACTIONS.insert(tx, record)


class Outcome(TypedDict, total=False):
    """How a step ended: `result` is Success (the default) or Error, `message` why, `host` where."""

    result: str
    message: str | None
    host: str | None


async def finish(tx: Transaction, server_id: str, request_id: str, event: str, **outcome: Unpack[Outcome]) -> None:
    """Record a step that is done. Nothing when there is no such action; the same step of the same action is recorded once.

    The step begins where the one before it ended.
    """
    action = await ACTIONS.first(tx, "server_id = ? AND request_id = ? ORDER BY started_at DESC", server_id, request_id)
    if action is None:
        return
    result = outcome.get("result", "Success")
    known = await tx.all("SELECT id, event, result, finished_at FROM server_action_events WHERE action_id = ?", action.id)
    for id, name, ended, _ in known:
        if name == event and ended is None:
            await EVENTS.delete(tx, id)
    if any(name == event and ended == result for _, name, ended, _ in known):
        return
    now = clock.now()
    before = max((at for _, _, _, at in known if at is not None), default=None)
    record = ActionEvent(
        id=str(uuid.uuid4()),
        action_id=action.id,
        event=event,
        started_at=before or action.started_at,
        finished_at=now,
        result=result,
        details=outcome.get("message"),
        host=outcome.get("host"),
    )
    await EVENTS.insert(tx, record)
    await ACTIONS.set(tx, action.id, updated_at=now, message="Error" if result == "Error" else action.message)


async def wait(tx: Transaction, server_id: str, request_id: str, event: str, reason: str) -> None:
    """Record why a step can't be done yet: the event stays open until `finish`. Nothing when there is no such action."""
    action = await ACTIONS.first(tx, "server_id = ? AND request_id = ? ORDER BY started_at DESC", server_id, request_id)
    if action is None:
        return
    known = await EVENTS.first(tx, "action_id = ? AND event = ? AND result IS NULL", action.id, event)
    if known is not None:
        await EVENTS.set(tx, known.id, details=reason)
        return
    await EVENTS.insert(tx, ActionEvent(id=str(uuid.uuid4()), action_id=action.id, event=event, started_at=clock.now(), details=reason))


async def of_server(db: Reader, server_id: str, where: str = "1 = 1", *args: object) -> list[Action]:
    """A server's actions, newest first."""
    return await ACTIONS.find(db, f"server_id = ? AND {where} ORDER BY started_at DESC, id DESC", server_id, *args)


async def get(db: Reader, server_id: str, request_id: str) -> Action | None:
    """The action of one request."""
    return await ACTIONS.first(db, "server_id = ? AND request_id = ? ORDER BY started_at DESC", server_id, request_id)


async def events_of(db: Reader, action_id: str) -> list[ActionEvent]:
    """The steps of an action, newest first."""
    return await EVENTS.find(db, "action_id = ? ORDER BY started_at DESC, finished_at DESC", action_id)
