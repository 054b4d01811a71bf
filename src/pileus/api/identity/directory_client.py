"""Speaks LDAP with one directory. Everything here blocks: it is called in threads of its own (`directories`).

A connection a thread is kept for what is read; a password is tried on a connection of its own. Passwords are in no message and no log.
"""

import logging
import math
import ssl
import threading
from typing import Any

from pileus import clock
from pileus.api.identity.certificates import trusted
from pileus.core.directories import (
    DirectoryOptions,
    Entry,
    Tree,
    groups_of,
    query,
    same_name,
    users_of,
    wanted_attributes,
)
from pileus.model.directories import DirectoryGroup, DirectoryUser
from pileus.model.errors import Unavailable

log = logging.getLogger("pileus.directories")
PAGED = "1.2.840.113556.1.4.319"
LIFETIME = 600.0
"""Seconds after which a connection is made anew."""
ONE_BY_ONE = 20
"""Members of a group that are read each by its name; of more, all users are read at once."""
SUCCESS, SIZE_LIMIT, NOTHING, WRONG_PASSWORD = 0, 4, 32, 49


def context(options: DirectoryOptions) -> ssl.SSLContext:
    """How a directory's certificate is looked at. OSError when those that it is held against can't be read."""
    found = trusted(options.certificates)
    if not options.require_certificate:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    return found


class DirectoryClient:
    """One directory. Unavailable when it does not answer, or not as it has to."""

    def __init__(self, options: DirectoryOptions) -> None:
        self.options = options
        self._kept = threading.local()

    # -- what is read ----------------------------------------------------------------------------------------------------------------

    def users(self, **where: str) -> list[DirectoryUser]:
        """The users, or those of a name or id."""
        return self._users(self._search(self.options.users, query(self.options.users, **where)))

    def groups(self, **where: str) -> list[DirectoryGroup]:
        """The groups, or those of a name or id."""
        tree = self.options.groups
        return groups_of(self.options, self._search(tree, query(tree, **where)))

    def groups_with(self, user: DirectoryUser) -> list[DirectoryGroup]:
        """The groups that a user is in."""
        return self.groups(**{self.options.member: user.local_id if self.options.members_are_ids else user.dn})

    def members(self, group: DirectoryGroup) -> list[DirectoryUser]:
        """The users that a group names."""
        if len(group.members) > ONE_BY_ONE:
            everyone = self.users()
            if self.options.members_are_ids:
                ids = set(group.members)
                return [user for user in everyone if user.local_id in ids]
            names = {same_name(one) for one in group.members}
            return [user for user in everyone if same_name(user.dn) in names]
        if self.options.members_are_ids:
            return [user for one in group.members for user in self.users(id=one)]
        tree = self.options.users
        return self._users([entry for dn in group.members if self._below(dn, tree) for entry in self._read(dn, tree, query(tree))])

    def matches(self, dn: str, password: str) -> bool:
        """Whether it is the password. An empty one, or no name, is not asked: a directory takes that for nobody, and says yes."""
        if not password or not dn:
            return False
        connection = self._connected()
        try:
            return self._bind(connection, dn, password)
        finally:
            self._let_go(connection)

    def close(self) -> None:
        """Let go of this thread's connection."""
        connection = getattr(self._kept, "connection", None)
        if connection is not None:
            self._kept.connection = None
            self._let_go(connection)

    # -- how -------------------------------------------------------------------------------------------------------------------------

    def _below(self, dn: str, tree: Tree) -> bool:
        return same_name(dn).endswith("," + same_name(tree.base))

    def _users(self, entries: list[Entry]) -> list[DirectoryUser]:
        emulation = self.options.enabling.emulation
        if emulation is None or not entries:
            return users_of(self.options, entries)
        enabled = {same_name(dn) for entry in self._read(emulation, self.options.groups, "(objectClass=*)") for dn in
                   entry.texts(self.options.member)}  # fmt: skip
        return users_of(self.options, entries, enabled)

    def _search(self, tree: Tree, text: str) -> list[Entry]:
        import ldap3

        return self._ask(tree, tree.base, text, ldap3.SUBTREE if self.options.subtree else ldap3.LEVEL)

    def _read(self, dn: str, tree: Tree, text: str) -> list[Entry]:
        import ldap3

        return self._ask(tree, dn, text, ldap3.BASE)

    def _ask(self, tree: Tree, base: str, text: str, scope: Any) -> list[Entry]:
        """Once more on a new connection, when the one that was kept has ended meanwhile."""
        from ldap3.core.exceptions import LDAPInvalidFilterError, LDAPObjectClassError

        kept = getattr(self._kept, "connection", None) is not None
        try:
            return self._pages(tree, base, text, scope)
        except (LDAPInvalidFilterError, LDAPObjectClassError) as error:
            raise self._refused(f"its filter is not valid: {text}") from error
        except _trouble() as error:
            self.close()
            if not kept:
                raise self._silent(error) from error
        try:
            return self._pages(tree, base, text, scope)
        except _trouble() as error:
            self.close()
            raise self._silent(error) from error

    def _pages(self, tree: Tree, base: str, text: str, scope: Any) -> list[Entry]:
        connection = self._service()
        size = self.options.page_size or None
        asked: dict[str, Any] = {"search_scope": scope, "attributes": wanted_attributes(self.options, tree)}
        asked["dereference_aliases"] = ALIASES[self.options.aliases]
        found: list[Entry] = []
        cookie: Any = None
        while True:
            connection.search(base, text, paged_size=size, paged_cookie=cookie, **asked)
            code = connection.result["result"]
            if code == NOTHING:
                return found
            if code != SUCCESS:
                hint = "; set page_size" if code == SIZE_LIMIT else ""
                raise self._refused(f"a search ended with {connection.result['description']}{hint}")
            for one in connection.response:
                if one.get("type") == "searchResEntry":
                    raw = {name.lower(): list(values) for name, values in one["raw_attributes"].items()}
                    found.append(Entry(dn=one["dn"], attributes=raw))
            controls = connection.result.get("controls") or {}
            cookie = controls.get(PAGED, {}).get("value", {}).get("cookie") if size else None
            if not cookie:
                return found

    def _service(self) -> Any:
        """This thread's connection, bound as the service's user."""
        connection = getattr(self._kept, "connection", None)
        if connection is not None and clock.monotonic() - self._kept.since < LIFETIME:
            return connection
        self.close()
        connection = self._connected()
        if not self._bind(connection, self.options.user, self.options.password):
            self._let_go(connection)
            raise self._refused("it does not accept the user and password of the domain's options")
        self._kept.connection, self._kept.since = connection, clock.monotonic()
        return connection

    def _connected(self) -> Any:
        """A connection that nobody has bound, to the first address that answers; TLS is up where it is wanted."""
        wrong: Exception | None = None
        for url in self.options.urls:
            try:
                return self._open(url)
            except _trouble() as error:
                wrong = error
        assert wrong is not None
        raise self._silent(wrong) from wrong

    def _open(self, url: str) -> Any:
        import ldap3

        tls = _tls(context(self.options)) if self.options.start_tls or url.lower().startswith("ldaps") else None
        server = ldap3.Server(url.rstrip("/"), get_info=ldap3.NONE, connect_timeout=self.options.timeout, tls=tls)
        connection = ldap3.Connection(
            server, client_strategy=ldap3.SYNC, read_only=True, receive_timeout=math.ceil(self.options.timeout * 2), check_names=False,
            auto_referrals=self.options.referrals, auto_range=True,
        )  # fmt: skip
        try:
            connection.open(read_server_info=False)
            if self.options.start_tls and not connection.start_tls(read_server_info=False):
                raise OSError(f"it refuses TLS: {connection.result.get('description')}")
        except BaseException:
            self._let_go(connection)
            raise
        return connection

    def _bind(self, connection: Any, dn: str | None, password: str | None) -> bool:
        """Whether the directory takes the name and the password; Unavailable when it says neither yes nor no."""
        import ldap3

        if dn and not password:
            return False  # else it would be taken for nobody
        connection.user, connection.password = dn or None, password if dn else None
        connection.authentication = ldap3.SIMPLE if dn else ldap3.ANONYMOUS
        try:
            if connection.bind(read_server_info=False):
                return True
        except _trouble() as error:
            raise self._silent(error) from error
        finally:
            connection.password = None
        code = connection.result.get("result")
        if code in (WRONG_PASSWORD, 48, 50, 53, 19, NOTHING):  # inappropriateAuthentication, denied, unwilling, a policy's constraint
            return False
        raise self._refused(f"a login ended with {connection.result.get('description')}")

    @staticmethod
    def _let_go(connection: Any) -> None:
        try:
            connection.unbind()
        except Exception:  # whatever state it is in, nobody needs it any more
            log.debug("a connection to a directory could not be closed", exc_info=True)

    def _silent(self, error: Exception) -> Unavailable:
        log.warning("the directory %s does not answer: %s", ", ".join(self.options.urls), error)
        return Unavailable("The directory of this domain does not answer; its administrators find the reason in the log.")

    def _refused(self, why: str) -> Unavailable:
        log.warning("the directory %s: %s", ", ".join(self.options.urls), why)
        return Unavailable("The directory of this domain can't be read; its administrators find the reason in the log.")


ALIASES = {"default": "NEVER", "never": "NEVER", "searching": "SEARCH", "always": "ALWAYS", "finding": "FINDING_BASE"}
"""As ldap3 calls them. The default is the client library's of OpenLDAP: never."""


def _trouble() -> tuple[type[Exception], ...]:
    """What ldap3 raises when a directory does not answer, or not in LDAP."""
    from ldap3.core.exceptions import LDAPException
    from pyasn1.error import PyAsn1Error

    return LDAPException, PyAsn1Error, OSError


def _tls(made: ssl.SSLContext) -> Any:
    """ldap3's TLS, with Python's own look at names and certificates in place of its own."""
    import ldap3

    class VerifiedTls(ldap3.Tls):  # type: ignore[misc]
        def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
            connection.socket = made.wrap_socket(
                connection.socket, do_handshake_on_connect=do_handshake, server_hostname=connection.server.host
            )

    return VerifiedTls()
