"""An ISO 9660 image with Rock Ridge and Joliet names from a mapping of paths to content: what a config drive is.

ECMA-119 for the volume, IEEE P1282 (Rock Ridge) for POSIX names and modes, Joliet for Windows guests. Files are small and few,
so the image is built whole in memory.
"""

import struct
from dataclasses import dataclass, field

from pileus.model.errors import Invalid

SECTOR = 2048
_NAME_MAX = 150  # what fits into one directory record beside the other Rock Ridge fields
_ZERO_DATE = b"0" * 16 + b"\0"


@dataclass(eq=False)
class _Node:
    """A file or directory. `sectors` holds where it lies: index 0 for the plain tree, 1 for Joliet's (files share theirs)."""

    name: str
    parent: "_Node | None"
    data: bytes | None = None
    children: "dict[str, _Node]" = field(default_factory=dict[str, "_Node"])
    plain: bytes = b""
    sectors: list[int] = field(default_factory=lambda: [0, 0])
    sizes: list[int] = field(default_factory=lambda: [0, 0])
    number: int = 0

    def identifier(self, tree: int) -> bytes:
        if tree == 0:
            return self.plain
        return self.name.encode("utf-16-be")

    def sorted(self, tree: int) -> "list[_Node]":
        return sorted(self.children.values(), key=lambda node: node.identifier(tree))


def iso9660(files: dict[str, bytes], label: str, recorded: tuple[int, int, int, int, int, int]) -> bytes:
    """The image. `recorded` is (year, month, day, hour, minute, second), UTC, for every file. Raises Invalid for unusable paths."""
    root = _tree(files)
    stamp = struct.pack("7B", recorded[0] - 1900, *recorded[1:], 0)
    sector = 19  # 16 unused, then the plain and the Joliet descriptor and the terminator
    tables: list[tuple[bytes, bytes, int]] = []
    orders = [_directories(root, tree) for tree in (0, 1)]
    tables_at = sector
    for tree in (0, 1):
        sector += 2 * _sectors(sum(_table_entry_size(node, tree) for node in orders[tree]))
    for tree in (0, 1):
        for node in orders[tree]:
            node.sizes[tree] = SECTOR * _directory_sectors(node, tree, stamp)
            node.sectors[tree] = sector
            sector += node.sizes[tree] // SECTOR
    contents: list[_Node] = []
    for directory in orders[0]:
        for node in directory.sorted(0):
            if node.data is not None:
                node.sectors = [sector, sector]
                node.sizes = [len(node.data), len(node.data)]
                sector += _sectors(len(node.data))
                contents.append(node)
    for tree in (0, 1):
        little, big = _path_tables(orders[tree], tree)
        tables.append((little, big, tables_at))
        tables_at += 2 * _sectors(len(little))
    out = [bytes(16 * SECTOR)]
    out += [_descriptor(tree, root, label, sector, tables[tree], stamp) for tree in (0, 1)]
    out.append((b"\xffCD001\x01").ljust(SECTOR, b"\0"))
    for little, big, _ in tables:
        out += [_padded(little), _padded(big)]
    for tree in (0, 1):
        out += [_directory(node, tree, stamp) for node in orders[tree]]
    out += [_padded(node.data or b"") for node in contents]
    return b"".join(out)


def _tree(files: dict[str, bytes]) -> _Node:
    root = _Node("", None)
    for path, data in files.items():
        node = root
        *folders, name = path.split("/")
        if not name or any(part in ("", ".", "..") or len(part.encode()) > _NAME_MAX for part in (*folders, name)) or len(folders) > 7:
            raise Invalid(f"A config drive can't hold a file named {path!r}.")
        for part in folders:
            node = node.children.setdefault(part, _Node(part, node))
            if node.data is not None:
                raise Invalid(f"A config drive can't hold {path!r}: a part of it is a file.")
        if name in node.children:
            raise Invalid(f"A config drive can't hold {path!r} twice.")
        node.children[name] = _Node(name, node, data)
    _name(root)
    return root


def _name(directory: _Node) -> None:
    """Give each child the short, unique upper-case name of the plain tree."""
    taken: set[bytes] = set()
    for node in sorted(directory.children.values(), key=lambda child: child.name):
        stem, _, ending = node.name.partition(".") if node.data is not None else (node.name, "", "")
        stem, ending = _plain(stem)[:8] or "_", _plain(ending)[:3]
        for attempt in range(len(directory.children) + 1):
            short = stem if not attempt else f"{stem[: 7 - len(str(attempt))]}_{attempt}"
            node.plain = short.encode() if node.data is None else f"{short}.{ending};1".encode()
            if node.plain not in taken:
                break
        taken.add(node.plain)
        if node.data is None:
            _name(node)


def _plain(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text.upper())


def _directories(root: _Node, tree: int) -> list[_Node]:
    """All directories, level by level, numbered from 1 as path tables count."""
    found, level = [root], [root]
    while level:
        level = [child for node in level for child in node.sorted(tree) if child.data is None]
        found += level
    for number, node in enumerate(found, 1):
        node.number = number
    return found


def _both(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _sectors(size: int) -> int:
    return -(-size // SECTOR)


def _padded(data: bytes) -> bytes:
    return data.ljust(_sectors(len(data)) * SECTOR, b"\0")


def _record(node: _Node, tree: int, identifier: bytes, stamp: bytes, extra: bytes) -> bytes:
    flags = 2 if node.data is None else 0
    body = b"\0" + _both(node.sectors[tree]) + _both(node.sizes[tree]) + stamp + bytes((flags, 0, 0)) + _both16(1)
    body += bytes((len(identifier),)) + identifier
    if len(identifier) % 2 == 0:
        body += b"\0"
    body += extra
    if len(body) % 2 == 0:  # with the length byte, records are even
        body += b"\0"
    return bytes((len(body) + 1,)) + body


def _rock_ridge(node: _Node, name: bytes | None, top: bool = False) -> bytes:
    """System use fields: mode and owner, the real name; at the root the signature that they are there."""
    mode, links = (0o040555, 2) if node.data is None else (0o100444, 1)
    fields = b""
    if top:
        fields += b"SP\x07\x01\xbe\xef\x00"
    fields += b"PX\x24\x01" + _both(mode) + _both(links) + _both(0) + _both(0)
    if name is not None:
        fields += b"NM" + bytes((5 + len(name), 1, 0)) + name
    if top:
        identifier = b"RRIP_1991A"
        fields += b"ER" + bytes((8 + len(identifier), 1, len(identifier), 0, 0, 1)) + identifier
    return fields


def _records(node: _Node, tree: int, stamp: bytes) -> list[bytes]:
    own = _rock_ridge(node, None, top=node.parent is None) if tree == 0 else b""
    above = node.parent or node
    records = [_record(node, tree, b"\0", stamp, own), _record(above, tree, b"\1", stamp, _rock_ridge(above, None) if tree == 0 else b"")]
    for child in node.sorted(tree):
        extra = _rock_ridge(child, child.name.encode()) if tree == 0 else b""
        records.append(_record(child, tree, child.identifier(tree), stamp, extra))
    return records


def _directory(node: _Node, tree: int, stamp: bytes) -> bytes:
    """A directory's content; a record never crosses a sector."""
    out = b""
    for record in _records(node, tree, stamp):
        if len(out) % SECTOR + len(record) > SECTOR:
            out = _padded(out)
        out += record
    return _padded(out)


def _directory_sectors(node: _Node, tree: int, stamp: bytes) -> int:
    return len(_directory(node, tree, stamp)) // SECTOR


def _table_entry_size(node: _Node, tree: int) -> int:
    length = len(node.identifier(tree)) if node.parent else 1
    return 8 + length + length % 2


def _path_tables(order: list[_Node], tree: int) -> tuple[bytes, bytes]:
    numbers = {id(node): number for number, node in enumerate(order, 1)}
    little = big = b""
    for node in order:
        name = node.identifier(tree) if node.parent else b"\0"
        parent = numbers[id(node.parent)] if node.parent else 1
        tail = name + b"\0" * (len(name) % 2)
        little += struct.pack("<BBIH", len(name), 0, node.sectors[tree], parent) + tail
        big += struct.pack(">BBIH", len(name), 0, node.sectors[tree], parent) + tail
    return little, big


def _descriptor(tree: int, root: _Node, label: str, total: int, tables: tuple[bytes, bytes, int], stamp: bytes) -> bytes:
    def text(value: str, length: int) -> bytes:
        if tree == 0:
            return value.encode("ascii", "replace")[:length].ljust(length, b" ")
        encoded = value.encode("utf-16-be")[: length // 2 * 2]
        return (encoded + "\u0020".encode("utf-16-be") * length)[: length // 2 * 2].ljust(length, b"\0")

    little, _, at = tables
    out = bytes((1 if tree == 0 else 2,)) + b"CD001\x01\x00" + text("", 32) + text(label, 32) + bytes(8) + _both(total)
    out += b"%/E".ljust(32, b"\0") if tree else bytes(32)
    out += _both16(1) + _both16(1) + _both16(SECTOR) + _both(len(little))
    out += struct.pack("<II", at, 0) + struct.pack(">II", at + _sectors(len(little)), 0)
    out += _record(root, tree, b"\0", stamp, b"")
    out += text("", 128) * 4 + text("", 37) * 3
    out += _ZERO_DATE * 4 + b"\x01\x00"
    return out.ljust(SECTOR, b"\0")
