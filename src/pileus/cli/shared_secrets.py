"""The secrets of a cloud that every manager process needs the same of: agreed on in the store, kept in DIR/secrets of each.

With SQLite there is one process, and the files alone count. Who reads the store of a cloud on PostgreSQL owns that cloud anyhow.
"""

import os
from pathlib import Path

import msgspec

from pileus.bus.authority import BusAuthority, new_authority
from pileus.cli.credentials import Credentials, write_private
from pileus.model.errors import Unavailable
from pileus.store import shared_keys
from pileus.store.database import Database, Transaction
from pileus.store.sealing import seal_of

BUS = "bus.json"
SINGLE = ("seal.key", "passwords.json", BUS)


def authority_of(directory: Path) -> BusAuthority:
    """The authority of the cloud's bus, made when there is none."""
    file = directory / "secrets" / BUS
    if not file.exists():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(file, msgspec.json.encode(new_authority()).decode() + "\n")
    try:
        return msgspec.json.decode(file.read_bytes(), type=BusAuthority)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"{file} is not readable: {error}. Take it from a backup of this directory.") from error


async def agree(db: Database, directory: Path) -> None:
    """Give the store what this directory has and the store has not, take over what it has: also what was rotated since."""
    Credentials(directory).passwords()
    seal_of(directory)
    authority_of(directory)
    folder = directory / "secrets"
    tokens = folder / "fernet"
    own = {name: (folder / name).read_text() for name in SINGLE}
    for file in tokens.glob("*"):
        if file.name.isdecimal():
            own[f"fernet/{file.name}"] = file.read_text()
    if "fernet/0" not in own:
        own |= _first_token_keys(tokens)

    async def work(tx: Transaction) -> dict[str, str]:
        held = await shared_keys.agree(tx, {})
        rotates = "fernet/0" in held  # elsewhere: what is ours may be what was dropped there
        return await shared_keys.agree(tx, {name: value for name, value in own.items() if name in SINGLE or not rotates})

    held = await db.write(work)
    tokens.mkdir(mode=0o700, exist_ok=True)
    for name, value in held.items():
        file = folder / name
        ours = name in SINGLE or (name.startswith("fernet/") and name[7:].isdecimal())
        if ours and (not file.exists() or file.read_text() != value):
            write_private(file, value)
    for file in tokens.glob("*"):
        if file.name.isdecimal() and f"fernet/{file.name}" not in held:
            os.unlink(file)
    seal_of.cache_clear()


def _first_token_keys(tokens: Path) -> dict[str, str]:
    from pileus.api.identity.keys import KeyRing

    KeyRing(tokens)
    return {f"fernet/{file.name}": file.read_text() for file in tokens.glob("*") if file.name.isdecimal()}
