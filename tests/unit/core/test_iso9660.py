"""The config drive's file system, read back by an independent reader of the same standard."""

import struct

import pytest

from pileus.core.iso9660 import SECTOR, iso9660
from pileus.model.errors import Invalid

RECORDED = (2026, 1, 2, 3, 4, 5)


def read(image: bytes, tree: str) -> dict[str, bytes]:
    """All files, by Rock Ridge names (`plain`: the short names; `joliet`: Joliet's)."""
    sector = 17 if tree == "joliet" else 16
    descriptor = image[sector * SECTOR : (sector + 1) * SECTOR]
    assert descriptor[1:6] == b"CD001"
    return walk(image, descriptor[156:190], tree, "")


def walk(image: bytes, record: bytes, tree: str, prefix: str) -> dict[str, bytes]:
    at, size = struct.unpack_from("<I", record, 2)[0] * SECTOR, struct.unpack_from("<I", record, 10)[0]
    found: dict[str, bytes] = {}
    for entry in entries(image[at : at + size]):
        identifier = entry[33 : 33 + entry[32]]
        if identifier in (b"\0", b"\1"):
            continue
        path = prefix + name_of(entry, identifier, tree)
        if entry[25] & 2:
            found |= walk(image, entry, tree, path + "/")
        else:
            start, length = struct.unpack_from("<I", entry, 2)[0] * SECTOR, struct.unpack_from("<I", entry, 10)[0]
            assert struct.unpack_from(">I", entry, 6)[0] * SECTOR == start
            found[path] = image[start : start + length]
    return found


def entries(directory: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(directory):
        length = directory[at]
        if length == 0:  # the rest of this sector is unused
            at = (at // SECTOR + 1) * SECTOR
            continue
        found.append(directory[at : at + length])
        at += length
    return found


def name_of(entry: bytes, identifier: bytes, tree: str) -> str:
    if tree == "joliet":
        return identifier.decode("utf-16-be")
    if tree == "plain":
        return identifier.decode()
    at = 33 + len(identifier) + (len(identifier) + 1) % 2
    while at + 4 <= len(entry):
        if entry[at : at + 2] == b"NM":
            return entry[at + 5 : at + entry[at + 2]].decode()
        at += entry[at + 2]
    raise AssertionError("no Rock Ridge name")


FILES = {
    "openstack/latest/meta_data.json": b'{"uuid": "1"}',
    "openstack/latest/user_data": b"#!/bin/sh\n" * 1000,
    "openstack/latest/vendor_data.json": b"",
    "openstack/latest/vendor_data2.json": b"{}",
    "openstack/2018-08-27/meta_data.json": b"{}",
    "ec2/latest/meta-data.json": b"{}",
    **{f"many/long-name-of-file-number-{number}.txt": str(number).encode() for number in range(100)},
}


@pytest.mark.parametrize("tree", ["rock ridge", "joliet"])
def test_all_files_are_there_under_their_own_names(tree: str) -> None:
    assert read(iso9660(FILES, "config-2", RECORDED), tree) == FILES


def test_short_names_are_unique() -> None:
    assert len(read(iso9660(FILES, "config-2", RECORDED), "plain")) == len(FILES)


def test_the_label_is_where_systems_look_for_it() -> None:
    image = iso9660({}, "config-2", RECORDED)
    assert image[16 * SECTOR + 40 : 16 * SECTOR + 72] == b"config-2".ljust(32)
    assert struct.unpack_from("<I", image, 16 * SECTOR + 80)[0] * SECTOR == len(image)


def test_the_same_files_make_the_same_image() -> None:
    assert iso9660(FILES, "config-2", RECORDED) == iso9660(dict(reversed(FILES.items())), "config-2", RECORDED)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "a/../b", "a//b", "a" * 200, "1/2/3/4/5/6/7/8/9"])
def test_paths_that_can_not_be_are_refused(path: str) -> None:
    with pytest.raises(Invalid):
        iso9660({path: b""}, "config-2", RECORDED)


def test_a_path_below_a_file_is_refused() -> None:
    for files in ({"a": b"", "a/b": b""}, {"a/b": b"", "a": b""}):
        with pytest.raises(Invalid):
            iso9660(files, "config-2", RECORDED)
