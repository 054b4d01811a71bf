"""Hosts grouped by equal state, so that a placement looks at each state once instead of at each host.

Hosts of the same hardware with the same load are in the same state: 10,000 hosts are rarely more than some hundred states.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable

from pileus.model.placement import HostState, HostView


class Hosts:
    """Every host of a cluster. `put` and `drop` keep it current as hosts change."""

    def __init__(self, views: Iterable[HostView] = ()) -> None:
        self.by_name: dict[str, HostView] = {view.name: view for view in views}
        self.states: dict[HostState, list[str]] = {}
        """The names of the hosts in each state, sorted."""
        for name in sorted(self.by_name):
            self.states.setdefault(self.by_name[name].state, []).append(name)

    def __len__(self) -> int:
        return len(self.by_name)

    def put(self, view: HostView) -> None:
        """Add a host, or say what has become of it."""
        before = self.by_name.get(view.name)
        if before is not None and before.state == view.state:
            self.by_name[view.name] = view
            return
        self.drop(view.name)
        self.by_name[view.name] = view
        insort(self.states.setdefault(view.state, []), view.name)

    def drop(self, name: str) -> None:
        """Forget a host, if it is known."""
        view = self.by_name.pop(name, None)
        if view is None:
            return
        names = self.states[view.state]
        del names[bisect_left(names, name)]
        if not names:
            del self.states[view.state]
