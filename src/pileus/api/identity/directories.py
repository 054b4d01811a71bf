"""Domains whose users and groups are a directory's (LDAP): read when somebody asks for them, and mirrored in rows of ours.

A handler says what it is about to read (`see_users`, `see_user`, ...) and reads the rows then; for other domains that costs a look for an
option or nothing. Each directory has a few threads of its own: one that does not answer holds up nobody else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from pileus import threads
from pileus.api.cloud import InCloud
from pileus.api.identity.documents import tokens_of
from pileus.api.identity.domain_options import domain_options
from pileus.core.directories import DirectoryOptions, directory_options, public_id
from pileus.model.directories import DirectoryGroup, DirectoryId, DirectoryUser
from pileus.model.errors import Forbidden, Invalid, Unavailable
from pileus.model.users import User
from pileus.store.database import Reader
from pileus.store.directories import entry_of, forget_group, forget_user, mirror, mirror_groups_of, mirror_members_of
from pileus.store.domain_options import driver_of
from pileus.store.users import USERS

if TYPE_CHECKING:
    from pileus.api.identity.directory_client import DirectoryClient

T = TypeVar("T")
THREADS = 4
WAITING = 100
"""Questions to one directory that may wait; more are told to come again."""
READ_ONLY = "LDAP does not support write operations: the users and groups of this domain are kept by its directory."


class Directory:
    """A domain's directory, with the threads that speak with it."""

    def __init__(self, domain_id: str, options: DirectoryOptions) -> None:
        import ldap3  # noqa: F401  # missing where nobody wanted it: told now, not by the first question

        from pileus.api.identity.directory_client import DirectoryClient

        self.domain_id = domain_id
        self.options = options
        self.client = DirectoryClient(options)
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="directory")
        self._waiting = 0
        threads.begin(self._pool, THREADS)

    async def ask(self, work: "Callable[[DirectoryClient], T]") -> T:
        """What the directory says; Unavailable when it does not, or too many ask."""
        if self._waiting >= WAITING:
            raise Unavailable("The directory of this domain is asked too much at once; try again.", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, self.client)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Nobody asks any more; connections end with their threads."""
        for _ in range(THREADS):
            self._pool.submit(self.client.close)
        self._pool.shutdown(wait=False)


_open: dict[tuple[str, str], Directory] = {}
"""(state directory, domain) -> the directory as it was last asked."""


async def directory_of(request: InCloud, domain_id: str) -> Directory | None:
    """The domain's directory; None when its users are kept here. Unavailable when its options can't be meant."""
    db = request.cloud.db
    if await driver_of(db, domain_id) != "ldap":
        return None
    try:
        options = directory_options(await domain_options(request, db, domain_id))
    except Invalid as error:
        raise Unavailable(error.message) from error
    assert options is not None
    key = (request.cloud.config.state, domain_id)
    known = _open.get(key)
    return known if known is not None and known.options == options else await _opened(key, options)


async def _opened(key: tuple[str, str], options: DirectoryOptions) -> Directory:
    """A directory with its threads, which are begun in another: where there is no memory for them, that one waits alone."""
    try:
        made = await asyncio.to_thread(Directory, key[1], options)
    except ModuleNotFoundError as error:
        raise Unavailable("A domain in LDAP needs the package ldap3: pip install 'pileus[ldap]'.") from error
    before = _open.get(key)
    if before is not None and before.options == options:  # another was quicker
        made.close()
        return before
    if before is not None:
        before.close()
    _open[key] = made
    return made


async def demand_own(db: Reader, domain_id: str) -> None:
    """Forbidden, as Keystone has it, when the users and groups of a domain are a directory's."""
    if await driver_of(db, domain_id) == "ldap":
        raise Forbidden(READ_ONLY)


# -- what is about to be read ------------------------------------------------------------------------------------------------------------


async def see_users(request: InCloud, domain_id: str | None, name: str | None = None) -> None:
    """The users of a domain, or the one of that name."""
    directory = await directory_of(request, domain_id) if domain_id else None
    if directory is None:
        return
    found = await directory.ask(lambda client: client.users(**_named(name)))
    await mirror(request.cloud.db, directory.domain_id, "user", found, complete=name is None)
    await tokens_of(request).refresh()


async def see_groups(request: InCloud, domain_id: str | None, name: str | None = None) -> None:
    """The groups of a domain, or the one of that name."""
    directory = await directory_of(request, domain_id) if domain_id else None
    if directory is None:
        return
    found = await directory.ask(lambda client: client.groups(**_named(name)))
    await mirror(request.cloud.db, directory.domain_id, "group", found, complete=name is None)
    await tokens_of(request).refresh()


def _named(name: str | None) -> dict[str, str]:
    return {} if name is None else {"name": name}


async def see_user(request: InCloud, key: str) -> bool:
    """One user, by our id; False for one that is kept here."""
    place = await _entry(request, key, "user")
    if place is not None:
        await _user(request, *place)
    return place is not None


async def see_groups_of(request: InCloud, key: str) -> None:
    """The groups of a user, and the user itself."""
    place = await _entry(request, key, "user")
    user = await _user(request, *place) if place is not None else None
    if place is not None and user is not None:
        await _groups_of(request, place[0], user)


async def see_group(request: InCloud, key: str, members: bool = False) -> bool:
    """One group, by our id, and who is in it where that is wanted; False for one that is kept here."""
    place = await _entry(request, key, "group")
    if place is None:
        return False
    directory, entry = place
    groups = await directory.ask(lambda client: client.groups(id=entry.local_id))
    db = request.cloud.db
    if not groups:
        await db.write(lambda tx: forget_group(tx, key))
    await mirror(db, directory.domain_id, "group", groups[:1])
    if groups and members:
        found = await directory.ask(lambda client: client.members(groups[0]))
        await mirror_members_of(db, key, await mirror(db, directory.domain_id, "user", found))
    await tokens_of(request).refresh()
    return True


async def _entry(request: InCloud, key: str, kind: str) -> tuple[Directory, DirectoryId] | None:
    entry = await entry_of(request.cloud.db, key)
    directory = await directory_of(request, entry.domain_id) if entry is not None and entry.kind == kind else None
    return None if directory is None or entry is None else (directory, entry)


async def _user(request: InCloud, directory: Directory, entry: DirectoryId) -> DirectoryUser | None:
    users = await directory.ask(lambda client: client.users(id=entry.local_id))
    if not users:
        await request.cloud.db.write(lambda tx: forget_user(tx, entry.id))
    await mirror(request.cloud.db, directory.domain_id, "user", users[:1])
    await tokens_of(request).refresh()
    return users[0] if users else None


async def _groups_of(request: InCloud, directory: Directory, user: DirectoryUser) -> list[DirectoryGroup]:
    db = request.cloud.db
    groups = await directory.ask(lambda client: client.groups_with(user))
    ids = await mirror(db, directory.domain_id, "group", groups)
    await mirror_groups_of(db, public_id(directory.domain_id, "user", user.local_id), ids)
    await tokens_of(request).refresh()
    return groups


# -- logins ------------------------------------------------------------------------------------------------------------------------------


async def user_called(request: InCloud, directory: Directory, name: str) -> User | None:
    """The user of that name, as the directory takes names; None when there is none, or more than one."""
    found = await directory.ask(lambda client: client.users(name=name))
    if len(found) != 1:
        return None
    [key] = await mirror(request.cloud.db, directory.domain_id, "user", found)
    return await USERS.get(request.cloud.db, key)


async def password_matches(request: InCloud, user: User, password: str) -> bool | None:
    """Whether the directory takes it for the user's password; None for a user that is kept here."""
    entry = await entry_of(request.cloud.db, user.id)
    if entry is None:
        return None
    directory = await directory_of(request, entry.domain_id)
    if directory is None:  # its domain is in no directory any more
        return False
    return await directory.ask(lambda client: client.matches(entry.dn, password))


async def as_of_now(request: InCloud, user: User) -> User | None:
    """The user as its directory has it now, in the groups that it is in; None when it is gone. One that is kept here, as it is."""
    entry = await entry_of(request.cloud.db, user.id)
    if entry is None:
        return user
    if await directory_of(request, entry.domain_id) is None:
        return None
    await see_groups_of(request, user.id)
    return await USERS.get(request.cloud.db, user.id)
