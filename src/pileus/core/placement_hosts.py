"""An index of hosts: a placement asks it for sets and for the best, and never looks at all hosts.

Hosts have places in the order of their names, and a set of hosts is an integer whose bits are places (bits.py). What passes a test is
kept, and corrected as hosts change; so is the order of the hosts by their weight. 10,000 hosts of 20 servers each are at home here.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from pileus.core.bits import bits_from, bits_of, every
from pileus.core.placement_filters import CAPACITY, Test
from pileus.core.placement_weights import WEIGHED, free_of, size_of, weights_of
from pileus.model.placement import HostState, HostView

KEPT_TESTS = 200
"""Of each kind; the one that was asked longest ago goes first."""
FEW = 64
"""Hosts that are put into order by themselves rather than looked for in the order of all."""

Key = tuple[str, Any]


class Hosts:
    """Every host. `put` and `drop` keep it current as hosts change."""

    def __init__(self, views: Iterable[HostView] = ()) -> None:
        self.by_name: dict[str, HostView] = {view.name: view for view in views}
        self.version = 0
        """Grows with every change of a state."""
        self._names: list[str] = []  # at each place; one that was dropped leaves its place empty
        self._places: dict[str, int] = {}
        self._everyone = 0
        self._static: dict[Key, tuple[Test, int]] = {}
        self._capacity: dict[str, dict[int, int]] = {}  # resource class -> amount -> hosts that have so much free
        self._clusters: dict[str, int] = {}
        self._stock: dict[str, Counter[str]] = {}  # cluster -> sums of what its hosts have ("total VCPU") and have free ("free VCPU")
        self._sizes: dict[str, Counter[int]] = {name: Counter() for name in WEIGHED}  # how many hosts are of each size
        self._scale: dict[str, int] = {}
        self._order: dict[str, list[tuple[float, int]]] = {}  # cluster -> (-weight, place) of its hosts: the best first
        self._weight: list[float] = []  # at each place
        self._scrambled = True

    def __len__(self) -> int:
        return len(self.by_name)

    # -- changes ---------------------------------------------------------------------------------------------------------------------

    def put(self, view: HostView) -> None:
        """Add a host, or say what has become of it."""
        before = self.by_name.get(view.name)
        self.by_name[view.name] = view
        if before is not None and before.state == view.state:
            return
        self.version += 1
        if self._scrambled:
            return
        place = self._places.get(view.name)
        if place is None:
            if self._names and view.name < self._names[-1]:
                self._scrambled = True  # places are in the order of names
                return
            place = len(self._names)
            self._names.append(view.name)
            self._weight.append(0.0)
            self._places[view.name] = place
        self._change(place, before.state if before is not None else None, view.state)

    def drop(self, name: str) -> None:
        """Forget a host, if it is known."""
        view = self.by_name.pop(name, None)
        if view is None:
            return
        self.version += 1
        if not self._scrambled:
            self._change(self._places[name], view.state, None)

    def _change(self, place: int, before: HostState | None, after: HostState | None) -> None:
        bit = 1 << place
        self._everyone = self._everyone | bit if after is not None else self._everyone & ~bit
        if before is not None:
            self._clusters[before.cluster] &= ~bit
        if after is not None:
            self._clusters[after.cluster] = self._clusters.get(after.cluster, 0) | bit
        self._count(before, -1)
        self._count(after, 1)
        if before is None or after is None or _still(before) != _still(after):
            for key, (test, bits) in self._static.items():
                passes = after is not None and not test.refusal(after)
                self._static[key] = test, bits | bit if passes else bits & ~bit
        self._restock(bit, before, after)
        if self._scale != self._largest():
            self._weigh_all()
            return
        if before is not None:
            order = self._order[before.cluster]
            del order[bisect_left(order, (-self._weight[place], place))]
        if after is not None:
            self._weight[place] = sum(weights_of(after, self._scale).values())
            insort(self._order.setdefault(after.cluster, []), (-self._weight[place], place))

    def _restock(self, bit: int, before: HostState | None, after: HostState | None) -> None:
        """Correct the sets of hosts with so much free."""
        was = {name: (inventory, used) for name, inventory, used in before.stocks} if before is not None else {}
        now = {name: (inventory, used) for name, inventory, used in after.stocks} if after is not None else {}
        for name in {**was, **now}:
            if was.get(name) == now.get(name) or name not in self._capacity:
                continue
            inventory, used = now.get(name, (None, 0))
            sets = self._capacity[name]
            for amount, bits in sets.items():
                passes = inventory is not None and amount <= inventory.capacity - used and inventory.allows(amount)
                if passes != bool(bits & bit):
                    sets[amount] = bits ^ bit

    def _count(self, state: HostState | None, sign: int) -> None:
        if state is None:
            return
        for name in WEIGHED:
            size = size_of(state, name)
            self._sizes[name][size] += sign
            if not self._sizes[name][size]:
                del self._sizes[name][size]
            if state.enabled and state.up:
                stock = self._stock.setdefault(state.cluster, Counter())
                stock[f"total {name}"] += sign * size
                stock[f"free {name}"] += sign * free_of(state, name)

    def _largest(self) -> dict[str, int]:
        return {name: max(sizes, default=0) for name, sizes in self._sizes.items()}

    def _weigh_all(self) -> None:
        self._scale = self._largest()
        self._order = {}
        for name, view in self.by_name.items():
            place = self._places[name]
            self._weight[place] = sum(weights_of(view.state, self._scale).values())
            self._order.setdefault(view.state.cluster, []).append((-self._weight[place], place))
        for order in self._order.values():
            order.sort()

    def settle(self) -> None:
        """Give every host its place, when some came out of order. Every question below needs this done."""
        if not self._scrambled:
            return
        self._scrambled = False
        self._names = sorted(self.by_name)
        self._places = {name: place for place, name in enumerate(self._names)}
        self._weight = [0.0] * len(self._names)
        self._everyone = (1 << len(self._names)) - 1
        self._static.clear()
        self._capacity.clear()
        self._stock.clear()
        for sizes in self._sizes.values():
            sizes.clear()
        places: dict[str, list[str]] = {}
        for name in self._names:
            state = self.by_name[name].state
            places.setdefault(state.cluster, []).append(name)
            self._count(state, 1)
        self._clusters = {cluster: self.places(names) for cluster, names in places.items()}
        self._weigh_all()

    # -- questions -------------------------------------------------------------------------------------------------------------------

    @property
    def everyone(self) -> int:
        """All hosts, as a set of places."""
        return self._everyone

    def places(self, names: Iterable[str]) -> int:
        """The set of these hosts; names that no host has are left out."""
        numbers = [self._places[name] for name in names if name in self.by_name]
        if len(numbers) < 100:
            return bits_of(numbers)
        flags = bytearray(len(self._names))
        for number in numbers:
            flags[number] = 1
        return bits_from(map(bool, flags))

    def at(self, place: int) -> HostView:
        """The host at a place."""
        return self.by_name[self._names[place]]

    def clusters(self) -> dict[str, int]:
        """The hosts of each cluster."""
        return {name: bits for name, bits in sorted(self._clusters.items()) if bits}

    def free_share(self, cluster: str) -> float:
        """Which part of a cluster is free: the mean over CPUs, memory and disk of its hosts that are enabled and up."""
        stock = self._stock.get(cluster, Counter())
        shares = [stock[f"free {name}"] / stock[f"total {name}"] for name in WEIGHED if stock[f"total {name}"] > 0]
        return round(sum(shares) / len(shares), 6) if shares else 0.0

    def passing(self, test: Test) -> int:
        """The hosts that pass a test."""
        if test.filter == CAPACITY:
            name, amount = test.what
            sets = self._capacity.setdefault(name, {})
            bits = sets.pop(amount, None)
            if bits is None:
                bits = self._find(test)
                if len(sets) >= KEPT_TESTS:
                    del sets[next(iter(sets))]
            sets[amount] = bits
            return bits
        known = self._static.pop(test.key, None) or (test, self._find(test))
        if len(self._static) >= KEPT_TESTS:
            del self._static[next(iter(self._static))]
        self._static[test.key] = known
        return known[1]

    def _find(self, test: Test) -> int:
        by_name = self.by_name
        return bits_from(name in by_name and not test.refusal(by_name[name].state) for name in self._names)

    def weights(self, place: int) -> dict[str, float]:
        """What makes the weight of a host."""
        return weights_of(self.at(place).state, self._scale)

    def best(self, cluster: str, pool: int, seed: int) -> Iterator[int]:
        """The places of a set of a cluster's hosts, the heaviest first; of equals, `seed` says which is first."""
        few = pool.bit_count() <= FEW
        order = sorted((-self._weight[place], place) for place in every(pool)) if few else self._order[cluster]
        size = len(self._names)
        flags = pool.to_bytes(size // 8 + 1, "little")
        start = next((at for at, (_, place) in enumerate(order) if flags[place >> 3] >> (place & 7) & 1), len(order))
        if start == len(order):
            return
        top = order[start][0]
        low, high = bisect_left(order, (top, -1)), bisect_left(order, (top, size))
        turn = low + seed % (high - low)
        for at in chain(range(turn, high), range(low, turn), range(high, len(order))):
            place = order[at][1]
            if flags[place >> 3] >> (place & 7) & 1:
                yield place


def _still(state: HostState) -> tuple[Any, ...]:
    """What claims and releases leave as it is."""
    operated = state.zone, state.cluster, state.enabled, state.disabled_reason, state.up
    return (*operated, state.traits, state.aggregates, state.metadata, state.cells)
