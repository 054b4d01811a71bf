"""Disks that two hosts see: whose they are, who may delete them, and which base images are kept."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pileus.model.errors import Conflict
from pileus.model.guests import DiskImage, GuestDisk
from pileus.node.storage.local import FRESH, LocalStorage
from pileus.node.storage.shared import SharedDisks


def host(tmp_path: Path, name: str) -> LocalStorage:
    storage = LocalStorage(tmp_path / name, SharedDisks(tmp_path / "shared", name))
    (tmp_path / name / "guests" / "g").mkdir(parents=True)
    storage.prepare()
    storage.lay(tmp_path / name / "guests" / "g" / "disks", "g", None)
    return storage


def root(tmp_path: Path) -> GuestDisk:
    path = tmp_path / "image.raw"
    path.write_bytes(b"pileus".ljust(1 << 20, b"\0"))
    return GuestDisk(name="root", size=4 << 20, image=DiskImage(sha256="ab" * 32, path=str(path), format="raw", virtual_size=1 << 20))


def test_one_host_writes_and_the_other_sees(tmp_path: Path) -> None:
    first, second = host(tmp_path, "a"), host(tmp_path, "b")
    made = first.make(tmp_path / "a" / "guests" / "g", root(tmp_path), None)
    assert made.path == "disks/root"
    assert second.make(tmp_path / "b" / "guests" / "g", root(tmp_path), None) == made
    assert (tmp_path / "b" / "guests" / "g" / "disks" / "root").samefile(tmp_path / "shared" / "g" / "root")
    if shutil.which("qemu-img"):
        for name in ("a", "b"):
            flat = tmp_path / "flat"
            argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "disks/root", str(flat)]
            subprocess.run(argv, cwd=tmp_path / name / "guests" / "g", check=True, timeout=60)
            assert flat.read_bytes().startswith(b"pileus")


def test_only_the_owner_deletes(tmp_path: Path) -> None:
    first, second = host(tmp_path, "a"), host(tmp_path, "b")
    assert first.shared and second.shared
    assert first.shared.owns("g") and not second.shared.owns("g")
    second.shared.remove("g")
    assert (tmp_path / "shared" / "g").exists()
    first.shared.remove("g")
    first.shared.remove("g")
    assert os.listdir(tmp_path / "shared") == ["base"]


def test_disks_change_hands_by_a_move_or_for_a_newer_guest_only(tmp_path: Path) -> None:
    first, second = host(tmp_path, "a"), host(tmp_path, "b")
    assert first.shared and second.shared
    first.shared.claim("g", 7)
    for late in (6, 7):
        with pytest.raises(Conflict, match="host a"):
            second.shared.claim("g", late)
    second.shared.claim("g", 7, arrived=True)
    with pytest.raises(Conflict, match="host b"):
        first.shared.claim("g", 7)
    first.shared.claim("g", 8)
    assert first.shared.owns("g")


def test_base_images_of_other_hosts_are_kept(tmp_path: Path) -> None:
    first, second = host(tmp_path, "a"), host(tmp_path, "b")
    first.make(tmp_path / "a" / "guests" / "g", root(tmp_path), None)
    base = first.base / ("ab" * 32)
    old = time.time() - 2 * FRESH
    os.utime(base, (old, old))
    assert second.collect(set) == []
    assert first.shared
    os.utime(base)
    first.shared.remove("g")
    assert second.collect(set) == [], "it may be about to be used"
    os.utime(base, (old, old))
    assert second.collect(set) == ["ab" * 32]
