"""Opens the store that the settings name: SQLite in the state directory, or PostgreSQL by its URL."""

from urllib.parse import parse_qs, unquote, urlsplit

from pileus.config import Config
from pileus.model.errors import Invalid, Unavailable
from pileus.store.database import Database
from pileus.store.sqlite import SqliteDatabase

SCHEMES = ("postgresql", "postgres")


def open_database(config: Config) -> Database:
    """The store of a cloud. A server is first reached by the first statement."""
    if config.database is None:
        return SqliteDatabase(config.directory / "pileus.db")
    check_url(config.database)
    try:  # late: who has SQLite does not need, or wait for, the client
        from pileus.store.postgresql import PostgresqlDatabase
        from pileus.store.postgresql_connections import Address
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise Unavailable("PostgreSQL needs the package asyncpg: pip install 'pileus[postgresql]'.") from error
    return PostgresqlDatabase(Address(config.database))


def check_url(url: str) -> None:
    """Invalid, without a word of the URL, when it can't be one of PostgreSQL."""
    try:
        parts = urlsplit(url)
        name = parts.path.strip("/") or parse_qs(parts.query).get("dbname")
        _ = parts.port  # raises when it is none
    except ValueError:
        parts, name = None, None
    if parts is None or parts.scheme not in SCHEMES or not name:
        raise Invalid("The database's URL is not valid: expected postgresql://USER@HOST:PORT/NAME.")


def without_password(url: str) -> str:
    """The URL with no secret in it."""
    address, _, query = url.partition("?")
    scheme, _, rest = address.partition("://")
    place, slash, name = rest.partition("/")
    user, at, where = place.rpartition("@")
    kept = "&".join(one for one in query.split("&") if "password" not in unquote(one.partition("=")[0]))
    return f"{scheme}://{user.partition(':')[0]}{at}{where}{slash}{name}{'?' if kept else ''}{kept}"
