"""Empty qcow2 images and swap areas as bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core.disk_headers import CLUSTER, empty_qcow2, read_qcow2_header, swap_header
from pileus.model.errors import Invalid


@given(st.integers(min_value=0, max_value=1 << 46), st.one_of(st.none(), st.text("abc./", min_size=1, max_size=200)))
def test_a_header_that_was_written_is_read_back(size: int, backing: str | None) -> None:
    image = empty_qcow2(size, backing)
    header = read_qcow2_header(image[:104])
    assert header is not None
    assert (header.version, header.backing_file, header.data_file, header.encrypted) == (3, backing is not None, False, False)
    assert header.virtual_size == -(-size // 512) * 512
    assert len(image) % CLUSTER == 0


def test_every_cluster_is_counted() -> None:
    image = empty_qcow2(1 << 44)
    counts = struct.unpack(f">{CLUSTER // 2}H", image[2 * CLUSTER : 3 * CLUSTER])
    assert sum(counts) == len(image) // CLUSTER


def test_the_backing_file_is_named_where_the_header_says() -> None:
    image = empty_qcow2(1 << 30, "../../base/abc", "qcow2")
    offset, length = struct.unpack_from(">QI", image, 8)
    assert image[offset : offset + length] == b"../../base/abc"
    assert b"qcow2" in image[104:offset]


@pytest.mark.parametrize("data", [b"", b"QFI\xfb", b"\0" * 200, b"#!/bin/sh" * 20])
def test_what_is_not_qcow2_has_no_header(data: bytes) -> None:
    assert read_qcow2_header(data) is None


def test_a_data_file_and_encryption_are_seen() -> None:
    image = bytearray(empty_qcow2(1 << 20))
    struct.pack_into(">Q", image, 72, 4)
    struct.pack_into(">I", image, 32, 2)
    header = read_qcow2_header(bytes(image))
    assert header and header.data_file and header.encrypted


def test_what_can_not_be_is_refused() -> None:
    with pytest.raises(Invalid, match="too large"):
        empty_qcow2(1 << 62)
    with pytest.raises(Invalid, match="1023"):
        empty_qcow2(1 << 20, "x" * 1024)
    with pytest.raises(Invalid, match="too small"):
        swap_header(4096, bytes(16))


def test_a_swap_area_says_how_many_pages_it_has() -> None:
    page = swap_header(1 << 20, bytes(range(16)), "a label that is too long")
    assert len(page) == 4096
    assert page.endswith(b"SWAPSPACE2")
    assert struct.unpack_from("<III", page, 1024) == (1, 255, 0)
    assert page[1052:1068] == b"a label that is\0"
