"""Passwords: argon2id at OWASP's parameters, in a few threads of their own, so that a storm of logins starves nothing else."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pileus import threads
from pileus.heap import Returning
from pileus.model.errors import Unavailable

T = TypeVar("T")
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
LONGEST = 4096
WAITING = 500
"""Logins that may wait; more are told to come again."""

# One processor stays free for all other requests.
_WORKERS = min(4, max(1, (os.cpu_count() or 1) - 1))
_pool = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="password")
_memory = Returning(_pool)
_waiting = 0
_nobody = ""


def begin() -> None:
    """Start the threads, while there is memory for them."""
    threads.begin(_pool, _WORKERS)


def hash_now(password: str) -> str:
    """The hash, in this thread: for programs that start."""
    return HASHER.hash(password)


async def hash_password(password: str) -> str:
    """The hash of a new password."""
    return await _later(HASHER.hash, password)


async def verify(hashed: str | None, password: str) -> bool:
    """Whether it is the password. Without a hash (no such user) it takes the same time and is False."""
    global _nobody
    if hashed is None:
        _nobody = _nobody or await hash_password("no user has this password")
    matches = await _later(_matches, hashed or _nobody, password)
    return matches and hashed is not None


def _matches(hashed: str, password: str) -> bool:
    try:
        return HASHER.verify(hashed, password[:LONGEST])
    except (VerificationError, InvalidHashError):
        return False


async def _later(work: Callable[..., T], *args: str) -> T:
    global _waiting
    if _waiting >= WAITING:
        raise Unavailable("Too many logins at once; try again in a moment.", headers={"Retry-After": "2"})
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_pool, work, *args)
    finally:
        _waiting -= 1
        _memory.used()
