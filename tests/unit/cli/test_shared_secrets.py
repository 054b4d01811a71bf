"""Two directories and one database: every manager process has the same secrets afterwards, also those that were rotated since."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pileus.api.identity.keys import KeyRing
from pileus.cli.shared_secrets import BUS, agree, authority_of
from pileus.config import Config
from pileus.store import schema, shared_keys
from pileus.store.database import Database
from pileus.store.open import open_database
from pileus.store.sealing import seal_of
from tests import postgresql


@pytest.fixture
def url() -> str:
    return postgresql.database()


def on(url: str, directory: Path, work: Callable[[Database], Awaitable[None]]) -> None:
    """What one process does with the database."""
    directory.mkdir(exist_ok=True)

    async def run() -> None:
        db = open_database(Config(state=str(directory), database=url))
        try:
            await schema.migrate(db)
            await work(db)
        finally:
            await db.close()

    asyncio.run(run())


def secrets(directory: Path) -> dict[str, str]:
    folder = directory / "secrets"
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def agreed(url: str, *directories: Path) -> None:
    for directory in directories:
        on(url, directory, lambda db, one=directory: agree(db, one))  # type: ignore[misc]


def test_the_second_process_takes_over_what_the_first_one_has(url: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    before = authority_of(first)  # it was there alone for a while
    agreed(url, first, second)
    assert secrets(first) == secrets(second)
    assert {"seal.key", "passwords.json", BUS, "fernet/0", "fernet/1"} <= set(secrets(first))
    assert authority_of(second) == authority_of(first) == before


def test_what_one_seals_or_encrypts_the_other_one_opens(url: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    seal_of(second).close("early")  # it has keys of its own by then
    KeyRing(second / "secrets" / "fernet")
    agreed(url, first, second)
    assert seal_of(second).open(seal_of(first).close("a password")) == "a password"
    kept = KeyRing(first / "secrets" / "credential-keys").encrypt(b"a seed")
    assert KeyRing(second / "secrets" / "credential-keys").decrypt(kept) == b"a seed"
    token = KeyRing(first / "secrets" / "fernet").encrypt(b"who")
    assert KeyRing(second / "secrets" / "fernet").decrypt(token) == b"who"


def test_what_is_rotated_for_all_is_taken_over_and_stays_so(url: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    agreed(url, first, second)
    ring = KeyRing(first / "secrets" / "fernet")
    for _ in range(3):
        ring.rotate()
    keys = {name: value for name, value in secrets(first).items() if name.startswith("fernet/")}
    assert "fernet/1" not in keys  # it was dropped

    async def told(db: Database) -> None:
        async def work(tx: shared_keys.Transaction) -> None:
            await shared_keys.put(tx, keys)
            await shared_keys.drop(tx, ["fernet/1"])

        await db.write(work)

    on(url, first, told)
    agreed(url, second, first)
    assert secrets(second) == secrets(first)
    assert {name for name in secrets(second) if name.startswith("fernet/")} == set(keys)


def test_secrets_are_their_owners_alone(url: str, tmp_path: Path) -> None:
    agreed(url, tmp_path / "first", tmp_path / "second")
    for file in (tmp_path / "second" / "secrets").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file


def test_an_authority_that_can_not_be_read_says_what_to_do(tmp_path: Path) -> None:
    from pileus.model.errors import Unavailable

    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / BUS).write_text("not JSON")
    with pytest.raises(Unavailable, match="backup"):
        authority_of(tmp_path)
