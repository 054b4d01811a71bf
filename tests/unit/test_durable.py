"""Files that are replaced whole or not at all."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pileus import durable


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a"
    durable.write(file, b"old")
    durable.write(file, b"new", 0o644)
    assert file.read_bytes() == b"new" and file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_what_fails_leaves_the_old_content_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    durable.write(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for make in (durable.write, durable.create):
            with pytest.raises(OSError, match="No space"):
                make(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("make", [durable.write, durable.create])
@pytest.mark.parametrize(("where", "step"), [(os, "fsync"), (os, "link"), (Path, "rename")])
def test_who_is_killed_at_any_step_leaves_the_whole_file_or_none(tmp_path: Path, make: Any, where: Any, step: str) -> None:
    file = tmp_path / "key"
    child = os.fork()
    if child == 0:
        setattr(where, step, lambda *_: os._exit(9))
        make(file, b"k" * 44)
        os._exit(0)
    os.waitpid(child, 0)
    assert not file.exists() or file.read_bytes() == b"k" * 44
    durable.write(file, b"next")
    assert file.read_bytes() == b"next"


def test_of_many_that_make_a_file_all_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: durable.create(tmp_path / "key", f"{number}".encode()), range(32)))
    assert len(set(found)) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]
