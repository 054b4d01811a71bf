"""How often a login may fail: pure decisions over what failed before.

Who asks is a pair: whom it says it is, and the address that it comes from. The first failures of a pair cost nothing, each further one
doubles the wait before the next try. Failures of the whole cloud make that allowance smaller, for pairs that have failed already alone:
who logs in with the right password at once is never held up, whatever others do.
"""

from ipaddress import IPv6Address, ip_address

from pileus.model.base import Model

FREE = 10
"""Failures of a pair after which it has to wait. More than a person makes, and than a test suite makes in a row."""
FIRST_WAIT = 1.0
LONGEST_WAIT = 300.0
FORGET = 900.0
"""Seconds after the last failure after which a pair begins anew."""
CLOUD_FREE = 200
"""Failures of the whole cloud, above what leaks away, at each multiple of which the allowance of a pair is halved."""
CLOUD_LEAK = 1.0
"""Of these, so many are forgotten each second."""


class Failures(Model, frozen=True, kw_only=True):
    """Of a pair: how many logins failed in a row, when the last one did, and how many are being looked at."""

    count: int = 0
    last: float = 0.0
    pending: int = 0


class CloudFailures(Model, frozen=True, kw_only=True):
    """Of everybody: a level that each failure raises by one and that time lowers, as it was at `at`."""

    level: float = 0.0
    at: float = 0.0


def source_of(address: str) -> str:
    """What counts as one address: of IPv6 a whole /64, which one subscriber has to choose from."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
    return str(found)


def level_of(cloud: CloudFailures, now: float) -> float:
    """The level by now."""
    return max(0.0, cloud.level - max(0.0, now - cloud.at) * CLOUD_LEAK)


def allowance(cloud: CloudFailures, now: float) -> int:
    """How many failures of a pair cost nothing at present: never fewer than one."""
    return max(1, FREE >> int(level_of(cloud, now) // CLOUD_FREE))


def forgotten(failures: Failures, now: float) -> bool:
    """Whether nothing has to be kept of a pair. A clock that was set back forgets too."""
    return failures.pending == 0 and (not failures.count or not 0 <= now - failures.last < FORGET)


def wait_of(failures: Failures, cloud: CloudFailures, now: float) -> float:
    """Seconds for which the pair has to wait before it may try; 0 when it may now.

    Tries that are being looked at count as failures of a pair that has failed before: many at once are no way around the wait.
    """
    if not failures.count or not 0 <= now - failures.last < FORGET:
        return 0.0
    over = failures.count + failures.pending - allowance(cloud, now)
    if over < 0:
        return 0.0
    if failures.pending:
        return FIRST_WAIT
    return max(0.0, failures.last + min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(over, 30)) - now)


def begun(failures: Failures, now: float) -> Failures:
    """A try has begun."""
    fresh = not 0 <= now - failures.last < FORGET
    return Failures(count=0 if fresh else failures.count, last=failures.last, pending=failures.pending + 1)


def ended(failures: Failures, right: bool, now: float) -> Failures:
    """A try has ended: rightly, which forgives the failures before, or not."""
    pending = max(0, failures.pending - 1)
    return Failures(pending=pending) if right else Failures(count=failures.count + 1, last=now, pending=pending)


def given_up(failures: Failures) -> Failures:
    """A try has ended without an answer: the client went away, or there was no room."""
    return Failures(count=failures.count, last=failures.last, pending=max(0, failures.pending - 1))


def raised(cloud: CloudFailures, now: float) -> CloudFailures:
    """One more has failed."""
    return CloudFailures(level=level_of(cloud, now) + 1.0, at=now)
