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
RINGS = ("fernet", "credential-keys")
"""Keys of tokens, and of what users keep in the identity service: of each ring the newest counts, older ones still open."""


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
    own = {name: (folder / name).read_text() for name in SINGLE}
    for ring in RINGS:
        own |= _keys_of(folder / ring) or _first_keys(folder / ring)

    async def work(tx: Transaction) -> dict[str, str]:
        held = await shared_keys.agree(tx, {})
        rotate = {ring for ring in RINGS if f"{ring}/0" in held}  # elsewhere: what is ours may be what was dropped there
        return await shared_keys.agree(tx, {name: value for name, value in own.items() if name.partition("/")[0] not in rotate})

    held = await db.write(work)
    for ring in RINGS:
        (folder / ring).mkdir(mode=0o700, exist_ok=True)
    for name, value in held.items():
        file = folder / name
        ring, _, number = name.partition("/")
        ours = name in SINGLE or (ring in RINGS and number.isdecimal())
        if ours and (not file.exists() or file.read_text() != value):
            write_private(file, value)
    for name in {name for ring in RINGS for name in _keys_of(folder / ring)} - held.keys():
        os.unlink(folder / name)
    seal_of.cache_clear()


def _keys_of(ring: Path) -> dict[str, str]:
    return {f"{ring.name}/{file.name}": file.read_text() for file in ring.glob("*") if file.name.isdecimal()}


def _first_keys(ring: Path) -> dict[str, str]:
    from pileus.api.identity.keys import KeyRing

    KeyRing(ring)
    return _keys_of(ring)
