"""Numbers for what is read of the records and told to hosts: of two words on one thing, the one that was read later has the larger number.

A number is drawn before the reading, so what it says has all that was written before. Hosts keep the largest that they have applied, and
what they answer to an older word (`heard`) carries us over it: so nothing need be stored here, and neither a clock that was set back, nor a
new leader, nor a database that was restored from a copy makes a host refuse for longer than one word.
"""

from pileus import clock
from pileus.model.errors import Conflict
from pileus.model.messages import DomainReply, NodeReply

MICROSECONDS = 1_000_000


class Readings:
    """One for all reconcilers of a process. By the clock, that processes agree without a word; but never back."""

    def __init__(self) -> None:
        self._last = 0

    def begin(self) -> int:
        """The number of a reading that begins now."""
        self._last = max(self._last + 1, int(clock.now() * MICROSECONDS))
        return self._last

    def heard(self, host: str, reply: NodeReply) -> None:
        """What a host answered to a word on a domain; Conflict when it kept a later one, and we are to read again."""
        if isinstance(reply, DomainReply) and reply.read_at:
            self._last = max(self._last, reply.read_at)
            raise Conflict(f"Host {host} has been told of {reply.domain_id} what was read later.", stale=True)
