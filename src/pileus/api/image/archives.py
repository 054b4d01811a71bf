"""Reads tar archives that anybody may have made: what a file in it is, never where it would go; little memory, whatever they claim."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pileus.api.image.decompressing import Bounded
from pileus.api.image.files import BLOCK
from pileus.model.errors import Invalid

PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


@contextmanager
def members(path: Path, what: str, most: int) -> Iterator[list[tarfile.TarInfo]]:
    """What lies in an archive, at most so much of it. Invalid where it is damaged, there or in the body of the `with`."""
    try:
        with path.open("rb", buffering=0) as file:
            with tarfile.open(fileobj=Bounded(file), mode="r:") as archive:  # type: ignore[arg-type]
                found = [one for _, one in zip(range(most + 1), archive, strict=False)]
            if not found or len(found) > most:
                raise Invalid(f"{what} holds {'more than ' if found else ''}{most if found else 0} files.")
            yield found
    except (tarfile.TarError, EOFError, OverflowError, RecursionError, ValueError) as error:
        raise Invalid(f"{what} is no sound tar archive: {error}.") from error


def is_plain(member: tarfile.TarInfo) -> bool:
    """Whether its bytes lie in the archive as they are: neither a link nor a file with holes."""
    return member.type in PLAIN and member.sparse is None  # type: ignore[attr-defined]


def blocks(path: Path, member: tarfile.TarInfo) -> Iterator[bytes]:
    """A file's bytes. Invalid when the archive ends before it does."""
    with path.open("rb", buffering=0) as source:
        source.seek(member.offset_data)
        left = member.size
        while left:
            data = source.read(min(BLOCK, left))
            if not data:
                raise Invalid(f"The archive ends before its file {member.name[:100]!r} does.")
            left -= len(data)
            yield data


def document(path: Path, member: tarfile.TarInfo, most: int) -> bytes:
    """The whole of a small file."""
    if not is_plain(member) or member.size > most:
        raise Invalid(f"The archive's {member.name[:100]!r} is too long, or no file.")
    return b"".join(blocks(path, member))
