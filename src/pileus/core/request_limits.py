"""How many requests a second of one tenant are answered: a bucket of tokens, kept as the one moment at which it is full again."""

BURST = 5.0
"""Seconds of its rate that a tenant which was silent may ask for at once."""
PATIENCE = 1.0
"""Seconds for which a request waits for its turn; one that would wait longer is refused."""


def turn(full_at: float, now: float, rate: float) -> tuple[float, float]:
    """(seconds that the next request has to wait, when the bucket is full again once it was let in).

    `full_at`: when the bucket is full, or was; `rate`: requests a second.
    """
    after = max(full_at, now) + 1.0 / rate
    return max(0.0, after - now - max(BURST, 1.0 / rate)), after
