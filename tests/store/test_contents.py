"""Encrypted content on disk: what was written comes back, in any part; what was tampered with never does."""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pileus.core.encrypted_content import CHUNK, HEADER, MAGIC, TAG
from pileus.model.errors import Unavailable
from pileus.store import contents
from pileus.store.sealing import Seal, seal_that_is_there

WHOLE = CHUNK + TAG
DATA = os.urandom(3 * CHUNK + 1234)


def stored(folder: Path, data: bytes) -> Path:
    """The data as an encrypted content."""
    sha = hashlib.sha256(data).hexdigest()
    (folder / "plain").write_bytes(data)
    with contents.opened(folder / "plain", partial(Seal, folder)) as source:
        assert contents.encrypt(source, folder / sha, sha, Seal(folder)) == sha
    return folder / sha


def all_of(path: Path, folder: Path) -> bytes:
    with contents.opened(path, partial(Seal, folder)) as content:
        return content.read(content.size, 0)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 16 * CHUNK, 17 * CHUNK + 5])
def test_what_was_written_comes_back(size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    path = stored(tmp_path, data)
    assert all_of(path, tmp_path) == data
    assert contents.size_of(path) == size and contents.is_encrypted(path)
    contents.check(path, partial(Seal, tmp_path))
    assert data[:100] not in path.read_bytes() if size > 16 else True


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=st.integers(0, len(DATA) + 10), length=st.integers(0, len(DATA) + 10))
def test_any_part_comes_back(offset: int, length: int, tmp_path: Path) -> None:
    path = tmp_path / hashlib.sha256(DATA).hexdigest()
    with contents.opened(path if path.exists() else stored(tmp_path, DATA), partial(Seal, tmp_path)) as content:
        assert content.read(length, offset) == DATA[offset : offset + length]


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def swapped(data: bytes) -> bytes:
    first, second = data[HEADER : HEADER + WHOLE], data[HEADER + WHOLE : HEADER + 2 * WHOLE]
    return data[:HEADER] + second + first + data[HEADER + 2 * WHOLE :]


def shortened(data: bytes) -> bytes:
    """Two chunks, and a header that says so."""
    return data[:14] + (2 * CHUNK).to_bytes(8, "big") + data[22 : HEADER + 2 * WHOLE]


TAMPERED: dict[str, Callable[[bytes], bytes]] = {
    "a bit of a chunk": lambda data: flipped(data, HEADER + WHOLE + 77),
    "a bit of the last tag": lambda data: flipped(data, len(data) - 1),
    "chunks that have changed places": swapped,
    "the last byte is gone": lambda data: data[:-1],
    "the last chunk is gone": lambda data: data[: HEADER + 3 * WHOLE],
    "cut off, with a header that fits": shortened,
    "cut off within the header": lambda data: data[:100],
    "something follows": lambda data: data + b"more",
    "a bit of the size": lambda data: flipped(data, 21),
    "a bit of the content's hash": lambda data: flipped(data, 30),
    "a bit of the sealed key": lambda data: flipped(data, 90),
    "another version": lambda data: flipped(data, 9),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_an_error(what: str, tmp_path: Path) -> None:
    path = stored(tmp_path, DATA)
    path.write_bytes(TAMPERED[what](path.read_bytes()))
    with pytest.raises(Unavailable, match="can't be read"):
        all_of(path, tmp_path)
    if "cut off" in what or "gone" in what or "follows" in what:  # of the rest the length says nothing
        assert contents.size_of(path) != len(DATA)


def test_another_contents_file_is_not_taken_for_this_one_even_with_its_hash_in_the_header(tmp_path: Path) -> None:
    one, other = stored(tmp_path, DATA), stored(tmp_path, os.urandom(len(DATA)))
    data = other.read_bytes()
    one.write_bytes(data)
    with pytest.raises(Unavailable, match="is that of the content"):
        all_of(one, tmp_path)
    one.write_bytes(data[:22] + bytes.fromhex(one.name) + data[54:])
    with pytest.raises(Unavailable, match="not what was written"):
        all_of(one, tmp_path)


def test_another_clouds_key_is_said(tmp_path: Path) -> None:
    path = stored(tmp_path, DATA)
    (tmp_path / "secrets" / "seal.key").unlink()
    with pytest.raises(Unavailable, match=r"another key than DIR/secrets/seal\.key"):
        all_of(path, tmp_path)


def test_a_process_that_may_not_make_the_key_says_that_there_is_none(tmp_path: Path) -> None:
    path = stored(tmp_path, DATA)
    with contents.opened(path, partial(seal_that_is_there, tmp_path)) as content:
        assert content.read(10, 0) == DATA[:10]
    key = tmp_path / "secrets" / "seal.key"
    key.rename(key.with_name("elsewhere"))
    for make in (lambda: None, lambda: key.symlink_to("elsewhere"), lambda: os.mkfifo(key)):
        key.unlink(missing_ok=True)
        make()
        with pytest.raises(Unavailable, match=r"seal\.key can't be read"):
            contents.opened(path, partial(seal_that_is_there, tmp_path))


def test_a_file_on_its_way_is_plain_whatever_it_begins_with(tmp_path: Path) -> None:
    waiting = tmp_path / "upload"
    waiting.write_bytes(MAGIC + bytes(1000))
    assert all_of(waiting, tmp_path) == MAGIC + bytes(1000) and contents.size_of(waiting) == 1000 + len(MAGIC)


def test_what_fails_to_be_written_is_gone(tmp_path: Path) -> None:
    path = stored(tmp_path, DATA)
    path.write_bytes(flipped(path.read_bytes(), len(path.read_bytes()) - 1))
    with contents.opened(path, partial(Seal, tmp_path)) as source, pytest.raises(Unavailable):
        contents.copy(source, tmp_path / "target")
    assert not (tmp_path / "target").exists()
