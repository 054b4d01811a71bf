"""What is packed comes out in pieces of a bounded length, whatever it grows to."""

import bz2
import gzip
import importlib
import io
import lzma
import zipfile
from typing import Any, BinaryIO, cast

import pytest

from pileus.api.image.decompressing import plain
from pileus.model.errors import Invalid

MIB = 1 << 20
SIZE = 192 * MIB


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk", data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "pack", "most"),
    [
        ("gzip", gzip.compress, 2 * MIB),
        ("bzip2", bz2.compress, 2 * MIB),
        ("xz", lambda data: lzma.compress(data, preset=1), 2 * MIB),
        ("zip", zipped, 2 * MIB),
        ("lz4", "lz4.frame", 2 * MIB),
        ("zstd", "zstandard", 32 * MIB),
    ],
)
def test_a_bomb_comes_out_piece_by_piece(name: str, pack: Any, most: int) -> None:
    if isinstance(pack, str):
        pytest.importorskip(pack)
        pack = importlib.import_module(pack).compress
    packed = pack(bytes(SIZE))
    assert len(packed) < SIZE // 100
    lengths = [len(data) for data in plain(io.BytesIO(packed), name)]
    assert sum(lengths) == SIZE and max(lengths) <= most


def test_a_zip_whose_directory_claims_to_be_long_is_refused() -> None:
    data = bytearray(zipped(b"disk") + bytes(5 * MIB))
    end = data.index(b"PK\5\6")
    tail = data[end : end + 22]
    tail[12:20] = (5 * MIB).to_bytes(4, "little") + (0).to_bytes(4, "little")
    with pytest.raises(Invalid, match="claims to have"):
        list(plain(io.BytesIO(bytes(data) + bytes(tail)), "zip"))


def test_an_xz_that_wants_much_memory_is_refused() -> None:
    packed = lzma.compress(b"disk", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}])
    with pytest.raises(Invalid, match="xz data is damaged"):
        list(plain(cast(BinaryIO, io.BytesIO(packed)), "xz"))
