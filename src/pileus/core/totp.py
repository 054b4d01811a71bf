"""One-time passwords by time (RFC 6238 over RFC 4226): six digits, by SHA-1, a new one every thirty seconds."""

import base64
import binascii
import hashlib
import hmac

DIGITS = 6
PERIOD = 30
EARLIER = 1
"""Steps before the present one that count too: a clock may go slow, and a person is."""


def seed_of(text: str) -> bytes | None:
    """The key that a credential holds in base 32, with or without the padding; None when it is none."""
    plain = text.strip().replace(" ", "").rstrip("=")
    try:
        seed = base64.b32decode(plain + "=" * (-len(plain) % 8), casefold=True)
    except (binascii.Error, ValueError):
        return None
    return seed or None


def passcode(seed: bytes, step: int) -> str:
    """The password of a step since 1970."""
    digest = hmac.new(seed, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def step_of(seed: bytes, given: str, now: float) -> int | None:
    """The step that the password is of, when that is the present one or one just before; None when it is of none."""
    present = int(now // PERIOD)
    matching = None
    for step in range(present, max(present - EARLIER, 0) - 1, -1):  # all are looked at: how long it takes tells nothing
        right = hmac.compare_digest(passcode(seed, step).encode(), given.encode(errors="replace"))
        matching = step if right and matching is None else matching
    return matching
