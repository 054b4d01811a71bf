"""The settings of a state directory: what was said on the command line is kept in `config.json` for the next start."""

import contextlib
import os
from pathlib import Path
from typing import Any

import msgspec

from pileus.config import Config
from pileus.model.errors import Conflict, Forbidden, Invalid, NotFound

EMPTY_WITH = {"up.lock", "lost+found"}  # what an unused directory may hold


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
        config = msgspec.structs.replace(msgspec.json.decode(text, type=Config), state=str(state))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} is not valid: {error}. Mend it, or put {{}} into it for the defaults.") from error
    check(config)
    return config


def prepare_directory(state: Path) -> Path:
    """The state directory, made where it was not; Invalid when it is something else or not ours to write."""
    if state.exists() and not state.is_dir():
        raise Invalid(f"{state} is a file; the state of a cloud is a directory. Choose another with --state DIR.")
    try:
        if state.exists() and not (state / "config.json").exists() and any(one.name not in EMPTY_WITH for one in state.iterdir()):
            raise Invalid(f"{state} holds something else (it has no config.json of pileus). Choose another directory with --state DIR.")
        state.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise Invalid(f"The state directory {state} can't be made: {error.strerror}. Choose another with --state DIR.") from error
    if not os.access(state, os.W_OK | os.X_OK):
        raise Invalid(f"The state directory {state} can't be written by this user. Use sudo, or choose another with --state DIR.")
    return state


def forget_unused(state: Path) -> None:
    """Remove the directory again when no cloud was made in it."""
    if state.is_dir() and not (state / "config.json").exists():
        (state / "up.lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds something, or something is mounted there
            state.rmdir()


def check_store(config: Config) -> None:
    """NotFound without a cloud in the directory; Forbidden when its records are another user's."""
    file = config.directory / "pileus.db"
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
    fresh = file.with_suffix(".new")
    try:
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(config)) + b"\n")
        fresh.rename(file)
    except OSError as error:
        raise Invalid(f"{file} can't be written: {error.strerror}. Mend that, or choose another directory with --state DIR.") from error


def remember(state: Path, **changes: Any) -> Config:
    """The settings with what was said now, kept."""
    before = load(prepare_directory(state))
    check_kind(before, changes.get("simulate"))
    config = said(before, **changes)
    keep(config, before)
    return config


def check_kind(before: Config, simulate: int | None) -> None:
    """A cloud is real or simulated for its whole life."""
    if simulate and not before.simulate and (before.directory / "pileus.db").exists():
        raise Conflict(f"The cloud in {before.directory} is a real one. Make a simulated one in a directory of its own: --state DIR.")


def check(config: Config) -> None:
    """Invalid when a setting can't be meant."""
    host, colon, port = config.listen.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise Invalid(f"--listen {config.listen}: expected HOST:PORT, such as 127.0.0.1:5000.")
