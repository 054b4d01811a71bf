"""The form of encrypted content: where each chunk lies, and a header that says what it says or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core import encrypted_content
from pileus.core.encrypted_content import HEADER, TAG, Header

SHA = bytes(range(32))


def header(size: int, chunk: int = 1000) -> Header:
    return Header(size=size, sha256=SHA, sealed_key="a sealed key", chunk=chunk)


@given(st.integers(0, 10_000), st.integers(1, 3000))
def test_chunks_lie_one_after_the_other_and_fill_the_file(size: int, chunk: int) -> None:
    made, place, plain = header(size, chunk), HEADER, 0
    for number in range(made.chunks):
        assert made.place(number)[0] == place
        place += made.place(number)[1]
        plain += made.place(number)[1] - TAG
    assert (place, plain) == (made.file_size, size)


@given(st.integers(0, 10_000), st.integers(1, 3000), st.integers(0, 12_000), st.integers(0, 12_000))
def test_a_span_has_the_chunks_of_its_bytes_and_no_others(size: int, chunk: int, offset: int, length: int) -> None:
    made = header(size, chunk)
    wanted = {byte // chunk for byte in range(offset, min(offset + length, size))}
    assert set(encrypted_content.span(made, offset, length)) == (wanted if size else {0})


def test_only_the_last_chunk_is_bound_as_the_last() -> None:
    made = header(3000)
    assert [made.bound(number)[-1] for number in range(made.chunks)] == [0, 0, 1]
    assert made.bound(0)[:-1] != header(2999).bound(0)[:-1]


def test_a_header_is_read_as_it_was_written_and_a_key_that_is_sealed_anew_changes_no_chunk() -> None:
    made = header(12345)
    data = encrypted_content.encode(made)
    assert len(data) == HEADER and encrypted_content.is_encrypted(data) and encrypted_content.decode(data) == made
    again = Header(size=12345, sha256=SHA, sealed_key="another", chunk=1000)
    assert again.bound(1) == made.bound(1)


@pytest.mark.parametrize(
    ("place", "byte"), [(0, 0), (9, 2), (10, 255), (14, 255), (56, 255), (60, 200), (HEADER - 1, 1)],
)  # fmt: skip
def test_a_header_that_no_version_has_written_is_refused(place: int, byte: int) -> None:
    data = bytearray(encrypted_content.encode(header(10)))
    data[place] = byte
    with pytest.raises(ValueError, match=r"header|version"):
        encrypted_content.decode(bytes(data))


def test_a_header_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ValueError, match="cut off"):
        encrypted_content.decode(encrypted_content.encode(header(10))[:-1])
