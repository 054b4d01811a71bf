"""The settings of a state directory: what was said on the command line is kept in `config.json` for the next start.

Everybody may read that; a database's URL with a password is kept in `secrets/database` and stands there without it.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from pileus import durable
from pileus.cli.credentials import write_private
from pileus.config import Config
from pileus.core.availability import Evacuate, parse_fence
from pileus.model.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from pileus.model.image_stores import LOCAL, WEB
from pileus.store.open import check_url, without_password

EMPTY_WITH = {"up.lock", "lost+found"}  # what an unused directory may hold


def _take_database(ctx: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
    if url is None:
        return None
    check_url(url)
    if without_password(url) != url and ctx.get_parameter_source("database") == ParameterSource.COMMANDLINE:
        raise Invalid(
            "Every user of this machine sees a password on the command line. Put the URL into PILEUS_DATABASE, the password into ~/.pgpass."
        )
    return url


database_option = click.option(
    "--database", metavar="URL", default=None, envvar="PILEUS_DATABASE", callback=_take_database,
    help="postgresql://USER@HOST:PORT/NAME instead of SQLite; with a password only in PILEUS_DATABASE.",
)  # fmt: skip


def _take_bus(ctx: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
    if url is None:
        return None
    from pileus.bus.connection import check_url as check_bus

    return check_bus(url)


def bus_options(command: Any) -> Any:
    """Where the message bus is, for processes of many."""
    authority = click.option("--bus-ca", metavar="FILE", default=None, help="Who signed the bus's certificate, when not this cloud.")
    bus = click.option(
        "--bus", metavar="URL", default=None, envvar="PILEUS_BUS", callback=_take_bus,
        help="nats://HOST:PORT, or tls://HOST:PORT: the bus by which hosts are reached.",
    )  # fmt: skip
    return bus(authority(command))


def load(state: Path) -> Config:
    """The settings as they were kept; defaults where nothing was."""
    file = state / "config.json"
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Config(state=str(state))
    except OSError as error:
        raise Invalid(f"{file} can't be read: {error.strerror}.") from error
    try:
        config = msgspec.json.decode(text, type=Config)
        config = msgspec.structs.replace(config, state=str(state), database=_with_password(state, config.database))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} is not valid: {error}. Mend it, or put {{}} into it for the defaults.") from error
    check(config)
    return config


def _with_password(state: Path, url: str | None) -> str | None:
    try:
        whole = (state / "secrets" / "database").read_text().strip()
    except OSError:  # it has none, or it is not this user's to read
        return url
    return whole if url is not None and without_password(whole) == url else url


def prepare_directory(state: Path) -> Path:
    """The state directory, made where it was not; Invalid when it is something else or not ours to write."""
    if state.exists() and not state.is_dir():
        raise Invalid(f"{state} is a file; the state of a cloud is a directory. Choose another with --state DIR.")
    try:
        if state.exists() and _is_anothers(set(os.listdir(state))):
            raise Invalid(f"{state} holds something else (it has no config.json of pileus). Choose another directory with --state DIR.")
        state.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise Invalid(f"The state directory {state} can't be made: {error.strerror}. Choose another with --state DIR.") from error
    if not os.access(state, os.W_OK | os.X_OK):
        raise Invalid(f"The state directory {state} can't be written by this user. Use sudo, or choose another with --state DIR.")
    return state


def _is_anothers(held: set[str]) -> bool:
    """Whether a directory with these names is no cloud's. Another `up` may be about to write the settings."""
    return "config.json" not in held and any(not one.startswith(".config.json.") for one in held - EMPTY_WITH)


def forget_unused(state: Path) -> None:
    """Remove the directory again when no cloud was made in it."""
    if state.is_dir() and not (state / "config.json").exists():
        (state / "up.lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds something, or something is mounted there
            state.rmdir()


def check_store(config: Config) -> None:
    """NotFound without a cloud in the directory; Forbidden when its records are another user's."""
    file = config.directory / ("pileus.db" if config.database is None else "secrets")
    if not file.exists():
        raise NotFound(f"There is no cloud in {config.directory}. Start one with up, or choose it with --state DIR.")
    if not os.access(file, os.R_OK | os.W_OK):
        raise Forbidden(f"{file} is not this user's to read. Use sudo.")


def said(config: Config, **changes: Any) -> Config:
    """The settings with what was said now (None: not said)."""
    found = msgspec.structs.replace(config, **{name: value for name, value in changes.items() if value is not None})
    check(found)
    return found


def keep(config: Config, before: Config | None = None) -> None:
    """Write the settings, unless they are as before; whole or not at all."""
    file = config.directory / "config.json"
    if config == before and file.exists():
        return
    shown = None if config.database is None else without_password(config.database)
    try:
        if config.database is not None and shown != config.database:
            secret = config.directory / "secrets" / "database"
            secret.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(secret, config.database + "\n")
        text = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(config, database=shown))) + b"\n"
        durable.write(file, text, 0o644)
    except OSError as error:
        raise Invalid(f"{file} can't be written: {error.strerror}. Mend that, or choose another directory with --state DIR.") from error


def remember(state: Path, **changes: Any) -> Config:
    """The settings with what was said now, kept."""
    before = load(prepare_directory(state))
    check_kind(before, changes.get("simulate"), changes.get("database"))
    config = said(before, **changes)
    keep(config, before)
    return config


def check_kind(before: Config, simulate: int | None, database: str | None = None) -> None:
    """A cloud is real or simulated, and on SQLite or PostgreSQL, for its whole life."""
    file = before.directory / "pileus.db"
    if simulate and not before.simulate and (file.exists() or before.database):
        raise Conflict(f"The cloud in {before.directory} is a real one. Make a simulated one in a directory of its own: --state DIR.")
    if database and not before.database and file.exists():
        raise Conflict(
            f"The cloud in {before.directory} keeps its records in {file}. Make one on PostgreSQL in a directory of its own: --state DIR."
        )


def _check_passwords(config: Config) -> None:
    for name in ("password_expires_days", "password_minimum_days", "password_history", "lockout_attempts", "inactive_days"):
        if getattr(config, name) < 0:
            raise Invalid(f"{name} {getattr(config, name)}: expected a number, or 0 for no such rule.")
    if 0 < config.password_expires_days <= config.password_minimum_days:
        raise Invalid("password_minimum_days must be less than password_expires_days: else nobody could change a password in time.")
    try:
        re.compile(config.password_regex or "")
    except re.error as error:
        raise Invalid(f"password_regex is no regular expression: {error}.") from error


def _check_stores(config: Config) -> None:
    places = {(config.directory / "images").resolve()}
    for name, one in config.image.stores.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name) or name == WEB:
            raise Invalid(f"image.stores: {name!r} can't be a store's name: letters, digits, '-' and '_', and not {WEB!r}.")
        if name == LOCAL:
            if one.path:
                raise Invalid(f"image.stores: {LOCAL} is always {config.directory / 'images'}; leave its path out.")
            continue
        if not Path(one.path).is_absolute():
            raise Invalid(f"image.stores: {name}: {one.path!r} is not the whole path of a directory.")
        if Path(one.path).resolve() in places:
            raise Invalid(f"image.stores: {name}: {one.path} is another store's directory already.")
        places.add(Path(one.path).resolve())
    if config.image.show_multiple_locations and not config.image.web_store:
        raise Invalid("image.show_multiple_locations needs image.web_store: else no location could be added.")


def check_stores_are_there(config: Config) -> None:
    """Before a start: Unavailable when a store of images has no directory, for its disk is not mounted perhaps."""
    for name, path in config.image_stores.items():
        if name != LOCAL and not path.is_dir():
            raise Unavailable(f"The image store {name} has no directory {path}. Mount its disk, make it, or take it out of image.stores.")


def check(config: Config) -> None:
    """Invalid when a setting can't be meant."""
    if config.database is not None:
        check_url(config.database)
    if config.bus is not None and config.database is None:
        raise Invalid("--bus needs --database: several processes share a cloud's records on PostgreSQL.")
    if config.bus_ca is not None and not Path(config.bus_ca).is_file():
        raise Invalid(f"--bus-ca {config.bus_ca}: there is no such file.")
    if config.project_requests < 0:
        raise Invalid(f"project_requests {config.project_requests:g}: expected a number of requests a second, or 0 for no limit.")
    _check_passwords(config)
    _check_stores(config)
    for text in config.fencing.values():
        parse_fence(text)
    if config.evacuate not in tuple(Evacuate):
        raise Invalid(f"evacuate: {config.evacuate!r} is none of {', '.join(Evacuate)}.")
    for setting, address in (("--listen", config.listen), ("metrics_listen", config.metrics_listen)):
        host, colon, port = (address or "127.0.0.1:9100").rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
            raise Invalid(f"{setting} {address}: expected HOST:PORT, such as 127.0.0.1:5000.")
