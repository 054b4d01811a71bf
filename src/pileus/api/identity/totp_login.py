"""The login by a one-time password, from the seeds that a user keeps as credentials of type totp."""

import secrets

from pileus import clock
from pileus.api.identity import password_rules
from pileus.api.identity.credentials import opened
from pileus.api.identity.login_bodies import PasscodeUser
from pileus.api.identity.logins import Login, claimed, find_user
from pileus.api.identity.tokens import INVALID
from pileus.api.request import Request
from pileus.core.totp import seed_of, step_of
from pileus.model.credentials import Credential
from pileus.model.errors import Unauthorized
from pileus.model.users import User
from pileus.store.credentials import CREDENTIALS, use_passcode

_nobody = secrets.token_bytes(20)


async def by_totp(request: Request, given: PasscodeUser) -> Login:
    """A passcode counts once: whoever reads it over a shoulder comes too late."""
    user = await find_user(request, given)
    with request.cloud.login_limits.attempt(user.id if user else claimed(given), request.remote_address) as attempt:
        attempt.right = await _matches(request, user, given.passcode)
    if user is None or not attempt.right:
        raise Unauthorized(INVALID)
    return Login(user=user, methods=["totp"], latest=float("inf"))


async def _matches(request: Request, user: User | None, passcode: str) -> bool:
    db = request.cloud.db
    step_of(_nobody, passcode, clock.now())  # nobody, and a user without a seed, take as long as one with
    seeds = await CREDENTIALS.find(db, "user_id = ? AND type = 'totp' ORDER BY created_at, id", user.id if user else "")
    if user is None or await password_rules.is_locked(request, user):
        return False
    for one in seeds:
        step = _step(request, one, passcode)
        if step is not None and await db.write(lambda tx, one=one, step=step: use_passcode(tx, one.id, step)):
            return True
    await password_rules.count_failure(request, user)
    return False


def _step(request: Request, one: Credential, passcode: str) -> int | None:
    seed = seed_of(opened(request, one))
    return None if seed is None else step_of(seed, passcode, clock.now())
