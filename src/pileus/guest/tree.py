"""A file tree held in memory: what goes into the initramfs and the root file system, with owner and mode of each entry."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One file, directory or symbolic link. `mode` holds type and permission bits; a link's target is its `data`."""

    mode: int
    data: bytes = b""
    uid: int = 0
    gid: int = 0


class Tree:
    """Paths without a leading slash, each with its entry. Parents of what is added come into being by themselves."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        """In an order in which a parent always precedes its children, the same at every build."""
        return iter(sorted(self.entries.items(), key=lambda item: item[0].split("/")))

    def directory(self, path: str, permissions: int = 0o755, *, owner: int = 0) -> None:
        """Add a directory, or set mode and owner of one that is there. `owner` is the user's and the group's number."""
        self._parents(path)
        self.entries[path] = Entry(stat.S_IFDIR | permissions, uid=owner, gid=owner)

    def file(self, path: str, data: bytes, permissions: int = 0o644) -> None:
        """Add a file of root's."""
        self._parents(path)
        self.entries[path] = Entry(stat.S_IFREG | permissions, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._parents(path)
        self.entries[path] = Entry(stat.S_IFLNK | 0o777, target.encode())

    def _parents(self, path: str) -> None:
        for parent in PurePosixPath(path).parents:
            if str(parent) != "." and str(parent) not in self.entries:
                self.entries[str(parent)] = Entry(stat.S_IFDIR | 0o755)

    def size(self) -> int:
        """Bytes of all files, each rounded up to a block of 4 KiB."""
        return sum((len(entry.data) + 4095) // 4096 * 4096 for entry in self.entries.values())

    def write(self, root: Path) -> None:
        """Write the tree below `root`. Owners and special mode bits need root, so they are set later, inside the file system."""
        root.mkdir(parents=True)
        for path, entry in self:
            where = root / path
            if stat.S_ISDIR(entry.mode):
                where.mkdir()
            elif stat.S_ISLNK(entry.mode):
                os.symlink(entry.data.decode(), where)
            else:
                where.write_bytes(entry.data)


def cpio(tree: Tree, seconds: int) -> bytes:
    """The tree as a `newc` archive, which the kernel unpacks as its first root; `seconds` is the time of every entry."""
    parts: list[bytes] = []
    for number, (path, entry) in enumerate(tree, start=1):
        parts.append(_cpio_member(path, entry, number, seconds))
    parts.append(_cpio_member("TRAILER!!!", Entry(0), 0, 0))
    return b"".join(parts)


def _cpio_member(path: str, entry: Entry, number: int, seconds: int) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, entry.uid, entry.gid, links, seconds, len(entry.data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return header + b"\0" * (-len(header) % 4) + entry.data + b"\0" * (-len(entry.data) % 4)
