"""What another user needs in order to reach a PostgreSQL database as root would: files of root's home, variables, the server's socket.

Only what concerns this database: of a file of passwords the lines for it, of the file system the directory of its socket.
"""

import getpass
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pileus.cli.separation.sandbox import PRIVATE_FILES
from pileus.cli.separation.sandbox import TOO_BROAD as HAVE_MORE
from pileus.model.base import Model

SOCKETS = ("/run/postgresql", "/var/run/postgresql")
"""Where the client looks when nobody says where the server is."""
TOO_BROAD = HAVE_MORE | {"/run", "/var/run", "/etc", "/usr"}
PASSWORDS = "passfile"
IN_URL = (PASSWORDS, "sslcert", "sslkey", "sslrootcert", "sslcrl")
IN_VARIABLES = {
    "PGPASSFILE": PASSWORDS, "PGSERVICEFILE": "service", "PGSSLCERT": "sslcert", "PGSSLKEY": "sslkey", "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCRL": "sslcrl",
}  # fmt: skip
AT_HOME = {
    ".pgpass": PASSWORDS, ".pg_service.conf": "service", ".postgresql/root.crt": "", ".postgresql/root.crl": "",
    ".postgresql/postgresql.crt": "", ".postgresql/postgresql.key": "",
}  # fmt: skip
SEPARATOR = re.compile(r"(?<!\\):")


class DatabaseAccess(Model, frozen=True, kw_only=True):
    """The URL and the variables as they are for the other process; the files, by their names below PRIVATE_FILES; directories of sockets.

    `hindrance` says why another user can't be given access.
    """

    url: str | None = None
    variables: dict[str, str] = {}
    files: dict[str, bytes] = {}
    sockets: list[str] = []
    hindrance: str = ""


def access_to(url: str | None, variables: Mapping[str, str], home: Path) -> DatabaseAccess:
    """What to give to a process of another user, whose home is PRIVATE_FILES, for this database; nothing for SQLite."""
    if url is None:
        return DatabaseAccess()
    parts = urlsplit(url)
    said = parse_qsl(parts.query, keep_blank_values=True)
    given = {name: value for name, value in variables.items() if name.startswith("PG")}
    user = _user(parts, dict(said), given)
    database = unquote(parts.path.lstrip("/")) or dict(said).get("dbname", user)
    files: dict[str, bytes] = {}

    def take(name: str, path: str | Path, kind: str) -> str:
        try:
            content = Path(path).read_bytes()
        except OSError:
            return str(path)
        files[name] = _lines_for(content, database, user) if kind == PASSWORDS else content
        return str(PRIVATE_FILES / name)

    query = [(name, take(f"database-{name}", value, name) if name in IN_URL else value) for name, value in said]
    for name, kind in IN_VARIABLES.items():
        if name in given:
            given[name] = take(f"database-{name}", given[name], kind)
    for name, kind in AT_HOME.items():
        take(name, home / name, kind)
    sockets = _sockets(parts, dict(said), given)
    broad = [one for one in sockets if one in TOO_BROAD]
    return DatabaseAccess(
        url=url if query == said else urlunsplit(parts._replace(query=urlencode(query))),
        variables=given | {"HOME": str(PRIVATE_FILES), "PGUSER": given.get("PGUSER", user)}, files=files, sockets=sockets,
        hindrance=f"the database's socket lies in {broad[0]}, which is not shown to it" if broad else "",
    )  # fmt: skip


def _user(parts: SplitResult, said: dict[str, str], variables: Mapping[str, str], name: Callable[[], str] = getpass.getuser) -> str:
    return unquote(parts.username or "") or said.get("user") or variables.get("PGUSER") or name()


def _lines_for(content: bytes, database: str, user: str) -> bytes:
    """Of a file of passwords (HOST:PORT:DATABASE:USER:PASSWORD) those that can be meant for this user of this database."""
    kept: list[str] = []
    for line in content.decode(errors="surrogateescape").splitlines():
        fields = SEPARATOR.split(line, maxsplit=4)
        if len(fields) == 5 and fields[2] in ("*", database) and fields[3] in ("*", user):
            kept.append(line)
    return "".join(f"{line}\n" for line in kept).encode(errors="surrogateescape")


def _sockets(parts: SplitResult, said: dict[str, str], variables: Mapping[str, str]) -> list[str]:
    """Directories, where the server is reached by a socket."""
    place = parts.netloc.rpartition("@")[2]
    hosts = unquote(place) or said.get("host") or variables.get("PGHOST") or ",".join(SOCKETS)
    found = [one.partition("/.s.PGSQL.")[0] for one in hosts.split(",") if one.startswith("/")]
    return list(dict.fromkeys(one.rstrip("/") or "/" for one in found))
