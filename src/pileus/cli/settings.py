"""The settings of a state directory: what was said on the command line is kept in `config.json` for the next start."""

from pathlib import Path
from typing import Any

import msgspec

from pileus.config import Config
from pileus.model.errors import Invalid


def load(state: Path) -> Config:
    """The settings as they were kept; defaults where nothing was."""
    file = state / "config.json"
    if not file.exists():
        return Config(state=str(state))
    try:
        return msgspec.structs.replace(msgspec.json.decode(file.read_bytes(), type=Config), state=str(state))
    except msgspec.MsgspecError as error:
        raise Invalid(f"{file} is not valid: {error}") from error


def remember(state: Path, **said: Any) -> Config:
    """The settings with what was said now (None: not said), kept."""
    changes = {name: value for name, value in said.items() if value is not None}
    config = msgspec.structs.replace(load(state), **changes)
    check(config)
    try:
        state.mkdir(mode=0o711, parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(config))
        (state / "config.json").write_bytes(text + b"\n")
    except OSError as error:
        raise Invalid(f"The state directory {state} can't be written: {error.strerror}. Choose another with --state DIR.") from error
    return config


def check(config: Config) -> None:
    """Invalid when a setting can't be meant."""
    host, colon, port = config.listen.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise Invalid(f"--listen {config.listen}: expected HOST:PORT, such as 127.0.0.1:5000.")
