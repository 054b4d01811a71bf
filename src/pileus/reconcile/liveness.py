"""Whether a host is lost, as far as this process can know: silence counts only while we were there to hear, and somebody else is heard."""

from collections.abc import Iterable

from pileus import clock
from pileus.bus.local import Bus
from pileus.model.hosts import Host
from pileus.store.hosts import HostHead, is_up


class Liveness:
    """Judges hosts for the reconcilers of one process. `silence`: seconds without a report after which a host is lost."""

    def __init__(self, bus: Bus, silence: float) -> None:
        self._bus = bus
        self._silence = silence
        self._since = clock.monotonic()

    def judges(self, heard: bool) -> bool:
        """Whether silence says something about a host: not before we have listened that long, nor when nobody at all is heard."""
        listening_since = max(self._since, self._bus.connected_at)
        return heard and clock.monotonic() - listening_since > self._silence

    def lost(self, hosts: Iterable[Host | HostHead], now: float) -> set[str]:
        """The names of the hosts that are lost."""
        known = list(hosts)
        forced = {host.name for host in known if host.forced_down}
        silent = {host.name for host in known if not host.forced_down and not is_up(host, now, self._silence)}
        return forced | silent if self.judges(heard=len(known) > len(forced) + len(silent)) else forced
