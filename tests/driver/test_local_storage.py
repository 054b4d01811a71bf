"""Disks as files: base images placed once, overlays, swap and ext4 disks, refusals, collection."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from pileus.core.disk_headers import empty_qcow2
from pileus.model.errors import Invalid, NodeFailed
from pileus.model.guests import DiskImage, GuestDisk
from pileus.node.storage import local
from pileus.node.storage.local import LocalStorage

MIB = 1 << 20


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path / "node")
    storage.prepare()
    return storage


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    directory = tmp_path / "node" / "guests" / "one"
    (directory / "disks").mkdir(parents=True)
    return directory


def image(tmp_path: Path, content: bytes = b"x" * MIB, form: str = "raw", name: str = "image") -> DiskImage:
    path = tmp_path / name
    path.write_bytes(content)
    return DiskImage(sha256="a" * 64, path=str(path), format=form, virtual_size=MIB)


def qemu_img(*arguments: str) -> str:
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is missing")
    return subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_base_image_is_a_link_where_the_file_system_is_the_same(storage: LocalStorage, tmp_path: Path) -> None:
    one = image(tmp_path)
    base = storage.place(one)
    assert base == storage.place(one)
    assert base.stat().st_ino == Path(one.path).stat().st_ino
    assert base.stat().st_mode & 0o777 == 0o444


def test_a_base_image_is_a_copy_where_links_do_not_work(storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: str, target: Path, **_: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr(os, "link", refused)
    base = storage.place(image(tmp_path))
    assert base.read_bytes() == b"x" * MIB
    assert [path.name for path in storage.base.iterdir()] == ["a" * 64]


def test_an_overlay_reads_as_its_image_and_has_the_flavors_size(storage: LocalStorage, guest: Path, tmp_path: Path) -> None:
    made = storage.make(guest, GuestDisk(name="root", size=8 * MIB, image=image(tmp_path)), None)
    assert (made.path, made.format, made.read_only) == ("disks/root", "qcow2", False)
    qemu_img("check", "-q", str(guest / made.path))
    qemu_img("convert", "-O", "raw", str(guest / made.path), str(tmp_path / "flat"))
    assert (tmp_path / "flat").read_bytes() == (b"x" * MIB).ljust(8 * MIB, b"\0")


def test_a_disk_that_is_there_is_left_alone(storage: LocalStorage, guest: Path, tmp_path: Path) -> None:
    disk = GuestDisk(name="root", size=8 * MIB, image=image(tmp_path))
    storage.make(guest, disk, None)
    (guest / "disks" / "root").write_bytes(b"written by the guest")
    storage.make(guest, disk, None)
    assert (guest / "disks" / "root").read_bytes() == b"written by the guest"
    storage.remove(guest, "root")
    storage.remove(guest, "root")
    storage.make(guest, disk, None)
    assert (guest / "disks" / "root").stat().st_size > 100_000


def test_a_qcow2_image_says_itself_how_large_it_is(storage: LocalStorage, guest: Path, tmp_path: Path) -> None:
    one = image(tmp_path, empty_qcow2(16 * MIB), "qcow2")
    with pytest.raises(NodeFailed, match=r"root has 0.00781 GiB but the image needs 0.0156 GiB"):
        storage.make(guest, GuestDisk(name="root", size=8 * MIB, image=one), None)
    made = storage.make(guest, GuestDisk(name="root", size=0, image=one), None)
    assert '"virtual-size": 16777216' in qemu_img("info", "--output=json", str(guest / made.path))


def test_an_iso_image_is_attached_itself_read_only(storage: LocalStorage, guest: Path, tmp_path: Path) -> None:
    made = storage.make(guest, GuestDisk(name="cdrom", size=MIB, image=image(tmp_path, form="iso"), cdrom=True), None)
    assert (made.path, made.format, made.read_only) == ("../../base/" + "a" * 64, "raw", True)
    assert list((guest / "disks").iterdir()) == []


@pytest.mark.parametrize("content", [empty_qcow2(MIB, "/etc/shadow"), b"not qcow2" * 100])
def test_an_image_that_is_not_what_it_says_or_names_other_files_is_refused(
    storage: LocalStorage, guest: Path, tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(NodeFailed):
        storage.make(guest, GuestDisk(name="root", size=8 * MIB, image=image(tmp_path, content, "qcow2")), None)
    assert list(storage.base.iterdir()) == []


def test_a_raw_image_that_looks_like_qcow2_is_refused(storage: LocalStorage, tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match="not raw"):
        storage.place(image(tmp_path, empty_qcow2(MIB), "raw"))


def test_an_image_that_was_cut_off_is_refused(storage: LocalStorage, tmp_path: Path) -> None:
    whole = replace(image(tmp_path), size=MIB)
    os.truncate(whole.path, MIB - 512)
    with pytest.raises(NodeFailed, match="damaged: it has 1048064 bytes, not 1048576"):
        storage.place(whole)
    assert list(storage.base.iterdir()) == []
    os.truncate(whole.path, MIB)
    assert storage.place(whole).stat().st_size == MIB


def test_a_missing_image_is_an_error_a_user_understands(storage: LocalStorage, guest: Path) -> None:
    gone = DiskImage(sha256="b" * 64, path="/nowhere", format="raw", virtual_size=MIB)
    with pytest.raises(NodeFailed, match="can't be read"):
        storage.make(guest, GuestDisk(name="root", size=MIB, image=gone), None)


def test_blank_swap_and_ext4_disks_are_made(storage: LocalStorage, guest: Path) -> None:
    for filesystem in (None, "swap", "ext4"):
        made = storage.make(guest, GuestDisk(name=str(filesystem), size=16 * MIB, filesystem=filesystem, label="mine"), None)
        assert (guest / made.path).stat().st_size == 16 * MIB
    blkid = shutil.which("blkid") or "/usr/sbin/blkid"
    kinds = [
        subprocess.run([blkid, "-p", "-o", "export", str(guest / "disks" / name)], capture_output=True, text=True, check=False).stdout
        for name in ("swap", "ext4")
    ]
    assert "TYPE=swap" in kinds[0] and "LABEL=mine" in kinds[0]
    assert "TYPE=ext4" in kinds[1] and "LABEL=mine" in kinds[1]
    with pytest.raises(Invalid, match="ntfs"):
        storage.make(guest, GuestDisk(name="other", size=16 * MIB, filesystem="ntfs"), None)


def test_what_an_interrupted_copy_left_is_cleared(storage: LocalStorage, guest: Path, tmp_path: Path) -> None:
    (storage.base / ("c" * 64 + ".123.partial")).write_bytes(b"half")
    (guest / "disks" / ".root.partial").write_bytes(b"half")
    storage.prepare()
    assert list(storage.base.iterdir()) == []
    storage.make(guest, GuestDisk(name="root", size=8 * MIB, image=image(tmp_path)), None)
    assert [path.name for path in (guest / "disks").iterdir()] == ["root"]


def test_unused_base_images_are_collected(storage: LocalStorage, tmp_path: Path) -> None:
    storage.place(image(tmp_path))
    assert storage.collect(lambda: {"a" * 64}) == []
    assert storage.collect(set) == ["a" * 64]
    assert list(storage.base.iterdir()) == []


def test_a_kernel_is_placed_anew_when_it_changes(storage: LocalStorage, tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"one")
    first = storage.place_file(kernel)
    assert storage.place_file(kernel) == first
    kernel.write_bytes(b"another")
    second = storage.place_file(kernel)
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"another")
    with pytest.raises(NodeFailed, match="vmlinuz2"):
        storage.place_file(tmp_path / "vmlinuz2")


def test_copies_share_blocks_where_the_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(local.fcntl, "ioctl", lambda target, request, source: asked.append(request))
    (tmp_path / "a").write_bytes(b"content")
    with (tmp_path / "a").open("rb") as source:
        local._copy(source.fileno(), tmp_path / "b")
    assert asked == [local.FICLONE]
    assert (tmp_path / "b").read_bytes() == b"", "the kernel shares the blocks; nothing is copied besides"


def test_a_disk_grows_with_its_flavor_and_never_shrinks(storage: LocalStorage, guest: Path, tmp_path: Path) -> None:
    one = image(tmp_path)
    for size, wanted in ((4, 4), (8, 8), (2, 8)):
        storage.make(guest, GuestDisk(name="root", size=size * MIB, image=one), None)
        storage.make(guest, GuestDisk(name="blank", size=size * MIB), None)
        assert f'"virtual-size": {wanted * MIB}' in qemu_img("info", "--output=json", str(guest / "disks" / "root"))
        assert (guest / "disks" / "blank").stat().st_size == wanted * MIB


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of two users")
def test_another_users_image_becomes_ours_before_it_is_linked(storage: LocalStorage, tmp_path: Path) -> None:
    one = image(tmp_path)
    os.chown(one.path, 65534, 65534)
    base = storage.place(one)
    assert base.stat().st_ino == Path(one.path).stat().st_ino
    assert (base.stat().st_uid, base.stat().st_mode & 0o777) == (0, 0o444)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of two users")
def test_an_image_that_its_user_still_writes_is_copied(storage: LocalStorage, tmp_path: Path) -> None:
    one = image(tmp_path)
    os.chown(one.path, 65534, 65534)
    with Path(one.path).open("r+b") as writer:
        base = storage.place(one)
        assert base.stat().st_ino != Path(one.path).stat().st_ino
        writer.write(b"changed")
    assert base.read_bytes() == b"x" * MIB


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a file that only root reads")
def test_a_second_name_of_roots_private_file_is_no_image(storage: LocalStorage, tmp_path: Path) -> None:
    one = image(tmp_path)
    Path(one.path).chmod(0o600)
    with pytest.raises(NodeFailed, match="can't be read"):
        storage.place(one)
    assert Path(one.path).stat().st_mode & 0o777 == 0o600
    assert list(storage.base.iterdir()) == []


def test_a_link_a_fifo_and_a_directory_are_no_images(storage: LocalStorage, tmp_path: Path) -> None:
    one = image(tmp_path)
    (tmp_path / "link").symlink_to(one.path)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    for name in ("link", "fifo", "directory", "missing"):
        with pytest.raises(NodeFailed, match="can't be read"):
            storage.place(replace(one, path=str(tmp_path / name)))
    assert list(storage.base.iterdir()) == []
