"""The rules of the cloud for passwords, and for who has not logged in for long. Off unless an operator sets them."""

import functools
import re
from datetime import UTC, datetime

from pileus import clock
from pileus.api.identity import directories, passwords
from pileus.api.request import Request
from pileus.model.errors import Invalid
from pileus.model.users import User
from pileus.store import passwords as store
from pileus.store.database import Transaction
from pileus.store.users import USERS

DAY = 86400.0


async def verify(request: Request, user: User | None, password: str) -> bool:
    """Whether it is the user's password. After too many failures in a row nothing is, for a while: neither right nor wrong is told.
    Of a user in a directory that directory is asked, whose own rules count."""
    of_directory = await directories.password_matches(request, user, password) if user else None
    if of_directory is not None:
        return of_directory
    if user is None or not _counts_failures(request, user):
        return await passwords.verify(user.password_hash if user else None, password)
    db = request.cloud.db
    locked = await is_locked(request, user)
    right = await passwords.verify(user.password_hash, password)
    if locked:
        return False
    if not right:
        await count_failure(request, user)
    elif await store.failures_since(db, user.id, 0.0):
        await db.write(lambda tx: store.forgive(tx, user.id))
    return right


def _counts_failures(request: Request, user: User) -> bool:
    return request.cloud.config.lockout_attempts > 0 and not user.options.get("ignore_lockout_failure_attempts")


async def is_locked(request: Request, user: User) -> bool:
    """Whether too many logins of the user have failed in a row lately."""
    if not _counts_failures(request, user):
        return False
    since = clock.now() - request.cloud.config.lockout_time
    return await store.failures_since(request.cloud.db, user.id, since) >= request.cloud.config.lockout_attempts


async def count_failure(request: Request, user: User) -> None:
    """A login of the user has failed."""
    if _counts_failures(request, user):
        now = clock.now()
        await request.cloud.db.write(lambda tx: store.count_failure(tx, user.id, now, now - request.cloud.config.lockout_time))


def has_expired(user: User) -> bool:
    """Whether the user has to change its password before the next login."""
    if user.password_expires_at is None or user.options.get("ignore_password_expiry"):
        return False
    return user.password_expires_at <= clock.now()


def is_enabled(request: Request, user: User) -> bool:
    """Whether the user may log in: enabled, and not away for longer than the cloud allows."""
    days = request.cloud.config.inactive_days
    if not user.enabled or not days or user.options.get("ignore_user_inactivity"):
        return user.enabled
    return _day(clock.now()) - _day(user.last_active_at or user.created_at) < days


def _day(moment: float) -> int:
    return int(moment // DAY)


async def note_login(request: Request, user: User) -> None:
    """The user has logged in: written once a day."""
    now = clock.now()
    if user.last_active_at is None or _day(user.last_active_at) != _day(now):
        await request.cloud.db.write(lambda tx: USERS.set(tx, user.id, last_active_at=now))


def check_strength(request: Request, password: str) -> None:
    """Invalid when the password is not what the cloud wants of one."""
    config = request.cloud.config
    if config.password_regex is not None and not _compiled(config.password_regex).match(password):
        words = config.password_regex_description or "the rule is not described; ask an administrator for it"
        raise Invalid(f"The password does not match the requirements: {words}.", field="password")


@functools.lru_cache(maxsize=4)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


async def check_new(request: Request, user: User, password: str) -> None:
    """Invalid when the user may not change to this password: too soon, too weak, or one of the last."""
    _check_age(request, user)
    check_strength(request, password)
    count = request.cloud.config.password_history
    if not count:
        return
    last = [user.password_hash] if user.password_hash else []
    last += [one for one in await store.last_passwords(request.cloud.db, user.id, count) if one not in last]
    for hashed in last[:count]:
        if await passwords.verify(hashed, password):
            raise Invalid(f"The new password must not be one of the last {count}.", field="password")


def _check_age(request: Request, user: User) -> None:
    """Whoever could change it again and again would soon have the old one back."""
    days = request.cloud.config.password_minimum_days
    if not days or user.password_set_at is None or has_expired(user):
        return
    left = user.password_set_at + days * DAY - clock.now()
    if left > 0:
        raise Invalid(
            f"A password must be used for {days} day(s) before it can be changed; try again in {int(left // DAY) + 1} day(s), "
            "or ask an administrator to set another.",
            field="password",
        )


def expiry(request: Request, user: User, *, own: bool) -> float | None:
    """Until when a password that is set now counts. One that the user has not chosen (`own`) may have to be changed at the first use."""
    config, now = request.cloud.config, clock.now()
    if not own and config.password_change_first and not user.options.get("ignore_change_password_upon_first_use"):
        return now
    if not config.password_expires_days or user.options.get("ignore_password_expiry"):
        return None
    return datetime.fromtimestamp(now + config.password_expires_days * DAY, UTC).replace(microsecond=0).timestamp()


async def note(request: Request, tx: Transaction, user: User, hashed: str | None) -> None:
    """A user gets a new password: a lock ends, and old and new are remembered where the cloud has that rule."""
    await store.forgive(tx, user.id)
    if not request.cloud.config.password_history:
        return
    for one, moment in ((user.password_hash, user.password_set_at or 0.0), (hashed, clock.now())):
        if one is not None:
            await store.remember_password(tx, user.id, one, moment, request.cloud.config.password_history)
