"""Resource providers as trees, with what a search looks up kept ready."""

from collections.abc import Iterable

from pileus.core.traits import SHARES_VIA_AGGREGATE
from pileus.model.placement import Provider

Room = tuple[int, int, int]
"""The least and the most that may be taken of a resource class, and the step between."""


class Forest:
    """Every provider by id, by tree and by aggregate. `put` and `drop` keep it current."""

    def __init__(self, providers: Iterable[Provider] = ()) -> None:
        self.providers: dict[str, Provider] = {}
        self.trees: dict[str, set[str]] = {}
        """Root -> every provider of its tree, the root included."""
        self.members: dict[str, set[str]] = {}
        """Aggregate -> providers in it."""
        self.traits: dict[str, frozenset[str]] = {}
        self.sharing: set[str] = set()
        """Providers that share through their aggregates."""
        self.shown: dict[str, bytes] = {}
        """What an answer said of a provider: kept for who wrote it until the provider changes."""
        self._rooms: dict[str, dict[str, Room]] = {}
        self._alike: dict[frozenset[str], frozenset[str]] = {}
        for provider in providers:
            self.put(provider)

    def put(self, provider: Provider) -> None:
        """Add a provider, or say what has become of it."""
        known = self.providers.get(provider.id)
        if known is not None and (known.root_id, known.aggregates) != (provider.root_id, provider.aggregates):
            self._unlink(known)
        if known is None or known.traits != provider.traits:
            traits = frozenset(provider.traits)
            self.traits[provider.id] = self._alike.setdefault(traits, traits)
            self.sharing.discard(provider.id)
            if SHARES_VIA_AGGREGATE in self.traits[provider.id]:
                self.sharing.add(provider.id)
        self.providers[provider.id] = provider
        self.trees.setdefault(provider.root_id, set()).add(provider.id)
        for aggregate in provider.aggregates:
            self.members.setdefault(aggregate, set()).add(provider.id)
        self.shown.pop(provider.id, None)
        for name, rooms in self._rooms.items():
            _note_room(rooms, provider, name)

    def drop(self, provider_id: str) -> None:
        """Forget a provider, if it is known."""
        known = self.providers.pop(provider_id, None)
        if known is not None:
            self._unlink(known)
            self.sharing.discard(provider_id)
            del self.traits[provider_id]
            self.shown.pop(provider_id, None)
            for rooms in self._rooms.values():
                rooms.pop(provider_id, None)

    def rooms(self, name: str) -> dict[str, Room]:
        """What each provider that has a resource class can still give of it; counted the first time that somebody asks for the class."""
        rooms = self._rooms.get(name)
        if rooms is None:
            rooms = self._rooms[name] = {}
            for provider in self.providers.values():
                _note_room(rooms, provider, name)
        return rooms

    def anchors(self, provider_id: str) -> set[str]:
        """The roots of the trees that a sharing provider gives to: those with a provider in one of its aggregates."""
        aggregates = self.providers[provider_id].aggregates
        return {self.providers[one].root_id for aggregate in aggregates for one in self.members[aggregate]}

    def ancestors(self, provider_id: str) -> set[str]:
        """The provider and all above it."""
        found: set[str] = set()
        current: str | None = provider_id
        while current is not None and current not in found:
            found.add(current)
            current = self.providers[current].parent_id
        return found

    def nested(self) -> bool:
        """Whether there is a tree of more than one provider."""
        return len(self.trees) != len(self.providers)

    def _unlink(self, provider: Provider) -> None:
        _remove(self.trees, provider.root_id, provider.id)
        for aggregate in provider.aggregates:
            _remove(self.members, aggregate, provider.id)


def _remove(table: dict[str, set[str]], key: str, value: str) -> None:
    table[key].discard(value)
    if not table[key]:
        del table[key]


def _note_room(rooms: dict[str, Room], provider: Provider, name: str) -> None:
    inventory = provider.inventories.get(name)
    if inventory is None:
        rooms.pop(provider.id, None)
        return
    most = min(inventory.max_unit, inventory.capacity - provider.used.get(name, 0))
    rooms[provider.id] = (inventory.min_unit, most, inventory.step_size)
