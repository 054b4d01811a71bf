"""File trees in memory and the cpio archives made of them."""

import stat
from pathlib import Path

from pileus.guest.tree import Tree, cpio


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Read a newc archive: mode and content by name."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        fields = [int(archive[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        name_size, size = fields[11], fields[6]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], archive[start : start + size])
        at = (start + size + 3) // 4 * 4


def example() -> Tree:
    tree = Tree()
    tree.file("usr/bin/tool", b"#!/bin/sh\n", 0o755)
    tree.link("bin", "usr/bin")
    tree.directory("home/user", 0o700, owner=1000)
    tree.file("init", b"x" * 5, 0o755)
    return tree


def test_parents_come_before_their_children() -> None:
    order = [path for path, _entry in example()]
    assert all(order.index(path.rsplit("/", 1)[0]) < order.index(path) for path in order if "/" in path)


def test_an_archive_holds_every_entry_with_its_mode() -> None:
    found = members(cpio(example(), 1_700_000_000))
    assert found["usr/bin/tool"] == (stat.S_IFREG | 0o755, b"#!/bin/sh\n")
    assert found["bin"] == (stat.S_IFLNK | 0o777, b"usr/bin")
    assert found["home/user"] == (stat.S_IFDIR | 0o700, b"")
    assert set(found) == {"bin", "home", "home/user", "init", "usr", "usr/bin", "usr/bin/tool"}


def test_the_same_tree_gives_the_same_archive_in_whatever_order_it_was_made() -> None:
    other = Tree()
    other.file("init", b"x" * 5, 0o755)
    other.directory("home/user", 0o700, owner=1000)
    other.link("bin", "usr/bin")
    other.file("usr/bin/tool", b"#!/bin/sh\n", 0o755)
    assert cpio(other, 7) == cpio(example(), 7)


def test_a_tree_is_written_below_a_directory(tmp_path: Path) -> None:
    example().write(tmp_path / "root")
    assert (tmp_path / "root/usr/bin/tool").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "root/bin").readlink() == Path("usr/bin")
