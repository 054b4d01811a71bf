"""The rules of the cloud for passwords: how soon one may come again, and how often a login may fail. Off unless an operator sets them."""

from pileus import clock
from pileus.api.identity import passwords
from pileus.api.request import Request
from pileus.model.errors import Invalid
from pileus.model.users import User
from pileus.store import passwords as store
from pileus.store.database import Transaction


async def verify(request: Request, user: User | None, password: str) -> bool:
    """Whether it is the user's password. After too many failures in a row nothing is, for a while: neither right nor wrong is told."""
    limit = request.cloud.config.lockout_attempts
    if user is None or limit == 0 or user.options.get("ignore_lockout_failure_attempts"):
        return await passwords.verify(user.password_hash if user else None, password)
    db, now = request.cloud.db, clock.now()
    since = now - request.cloud.config.lockout_time
    locked = await store.failures_since(db, user.id, since) >= limit
    right = await passwords.verify(user.password_hash, password)
    if locked:
        return False
    if not right:
        await db.write(lambda tx: store.count_failure(tx, user.id, now, since))
    elif await store.failures_since(db, user.id, 0.0):
        await db.write(lambda tx: store.forgive(tx, user.id))
    return right


async def check_new(request: Request, user: User, password: str) -> None:
    """Invalid when the password is one of the last, where the cloud has that rule."""
    count = request.cloud.config.password_history
    if not count:
        return
    last = [user.password_hash] if user.password_hash else []
    last += [one for one in await store.last_passwords(request.cloud.db, user.id, count) if one not in last]
    for hashed in last[:count]:
        if await passwords.verify(hashed, password):
            raise Invalid(f"The new password must not be one of the last {count}.", field="password")


async def note(request: Request, tx: Transaction, user: User, hashed: str | None) -> None:
    """A user gets a new password: a lock ends, and old and new are remembered where the cloud has that rule."""
    await store.forgive(tx, user.id)
    if not request.cloud.config.password_history:
        return
    for one, moment in ((user.password_hash, user.password_set_at or 0.0), (hashed, clock.now())):
        if one is not None:
            await store.remember_password(tx, user.id, one, moment, request.cloud.config.password_history)
