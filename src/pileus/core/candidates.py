"""Allocation candidates: every way in which providers can give what is asked.

Each group is answered for each anchor (the root of the tree that the answer is about; a sharing provider serves the trees of its
aggregates), then the groups' answers of one anchor are combined and checked together.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice, product

from pileus.core.provider_forest import Forest
from pileus.model.candidates import AllocationRequest, CandidateRequest, Candidates, Group, Share
from pileus.model.placement import Provider

MOST = 100_000
"""Answers made at most, whatever was asked: a request of many groups over a wide tree has more ways than anybody can read."""

Take = tuple[str, str, int]
"""Provider, resource class, amount."""


class Choice:
    """One way to satisfy one group."""

    __slots__ = ("providers", "suffix", "takes")

    def __init__(self, suffix: str, takes: tuple[Take, ...], providers: tuple[str, ...]) -> None:
        self.suffix = suffix
        self.takes = takes
        self.providers = providers


Choices = dict[str, list[Choice]]
"""Those of a group by anchor."""


def candidates(request: CandidateRequest, forest: Forest) -> Candidates:
    """The answer to a request."""
    limit = min(request.limit or MOST, MOST)
    if len(request.groups) == 1 and not forest.sharing and not forest.nested():
        group = request.groups[0]
        share = Share(resources=group.resources)
        providers = list(islice(_flat(request, forest), limit))
        alone = [AllocationRequest(allocations={one: share}, mappings={group.suffix: [one]}) for one in providers]
        return Candidates(requests=alone, providers=providers)
    requests = list(islice(_combined(request, forest), limit))
    used = {provider for one in requests for provider in one.allocations}
    if request.nested:
        roots = {forest.providers[provider].root_id for provider in used}
        used = set(chain.from_iterable(forest.trees[root] for root in roots))
    return Candidates(requests=requests, providers=[provider for provider in forest.providers if provider in used])


def _flat(request: CandidateRequest, forest: Forest) -> Iterator[str]:
    """One group, no trees, nothing shared: each provider that fits is an answer."""
    group = request.groups[0]
    wanted = [(forest.rooms(name), amount) for name, amount in group.resources.items()]
    plain = not (group.required or group.forbidden or group.member_of or group.not_member_of)
    plain = plain and not (request.root_required or request.root_forbidden)
    for provider in _pool(group, forest):
        key = provider.id
        for rooms, amount in wanted:
            room = rooms.get(key)
            if room is None or not room[0] <= amount <= room[1] or amount % room[2]:
                break
        else:
            if plain or (suits(provider, group, forest) and _root_suits(key, request, forest)):
                yield key


def _combined(request: CandidateRequest, forest: Forest) -> Iterator[AllocationRequest]:
    by_group = [_spread(group, forest) if group.suffix == "" else _single(group, forest) for group in request.groups]
    seen: set[object] = set()
    for anchor in by_group[0]:
        if not all(anchor in choices for choices in by_group) or not _root_suits(anchor, request, forest):
            continue
        for combination in product(*(choices[anchor] for choices in by_group)):
            one = _merge(request, combination, forest)
            if one is None:
                continue
            key = (frozenset(chain.from_iterable(choice.takes for choice in combination)), _frozen(one.mappings))
            if key not in seen:
                seen.add(key)
                yield one


def _frozen(mappings: dict[str, list[str]]) -> frozenset[tuple[str, tuple[str, ...]]]:
    return frozenset((suffix, tuple(providers)) for suffix, providers in mappings.items())


# One provider.


def _pool(group: Group, forest: Forest) -> Iterable[Provider]:
    if group.in_tree is None:
        return forest.providers.values()
    known = forest.providers.get(group.in_tree)
    return [forest.providers[one] for one in sorted(forest.trees[known.root_id])] if known else []


def fits(provider: Provider, wanted: dict[str, int]) -> bool:
    """Whether one provider alone has all this free."""
    inventories, used = provider.inventories, provider.used
    for name, amount in wanted.items():
        inventory = inventories.get(name)
        if inventory is None or not inventory.allows(amount) or used.get(name, 0) + amount > inventory.capacity:
            return False
    return True


def suits(provider: Provider, group: Group, forest: Forest) -> bool:
    """Whether one provider alone has the traits and aggregates that a group wants."""
    if group.required or group.forbidden:
        traits = forest.traits[provider.id]
        if not traits.isdisjoint(group.forbidden) or any(traits.isdisjoint(choice) for choice in group.required):
            return False
    return _in_aggregates(provider, group) and group.not_member_of.isdisjoint(provider.aggregates)


def _in_aggregates(provider: Provider, group: Group) -> bool:
    return not any(choice.isdisjoint(provider.aggregates) for choice in group.member_of)


def _root_suits(root: str, request: CandidateRequest, forest: Forest) -> bool:
    if not request.root_required and not request.root_forbidden:
        return True
    traits = forest.traits[root]
    return request.root_required <= traits and traits.isdisjoint(request.root_forbidden)


# One group.


def _single(group: Group, forest: Forest) -> Choices:
    """The ways to satisfy a group from one provider."""
    found: Choices = {}
    for provider in _pool(group, forest):
        if not fits(provider, group.resources) or not suits(provider, group, forest):
            continue
        takes = tuple((provider.id, name, amount) for name, amount in group.resources.items())
        choice = Choice(group.suffix, takes, (provider.id,))
        anchors = {provider.root_id}
        if provider.id in forest.sharing:
            anchors |= forest.anchors(provider.id)
        for anchor in anchors:
            found.setdefault(anchor, []).append(choice)
    return found


def _spread(group: Group, forest: Forest) -> Choices:
    """The ways to satisfy a group from a tree and what is shared with it, each resource class from one provider."""
    parts: dict[str, list[list[str]]] = {}  # anchor -> for each class the providers that have it
    for place, (name, amount) in enumerate(group.resources.items()):
        for provider in _pool(group, forest):
            if not fits(provider, {name: amount}):
                continue
            for anchor in _anchors(provider, group, forest):
                if _tree_suits(provider, forest.providers[anchor], group):
                    columns = parts.setdefault(anchor, [[] for _ in group.resources]) if place == 0 else parts.get(anchor)
                    if columns is not None:
                        columns[place].append(provider.id)
    wanted = list(group.resources.items())
    found: Choices = {}
    for anchor, columns in parts.items():
        for providers in product(*columns):
            if _together_suit(providers, group, forest):
                takes = tuple((provider, name, amount) for provider, (name, amount) in zip(providers, wanted, strict=True))
                choice = Choice(group.suffix, takes, tuple(dict.fromkeys(providers)))
                found.setdefault(anchor, []).append(choice)
    return found


def _anchors(provider: Provider, group: Group, forest: Forest) -> set[str]:
    anchors = {provider.root_id}
    if provider.id in forest.sharing and group.in_tree is None and _in_aggregates(provider, group):
        anchors |= forest.anchors(provider.id)
    return anchors


def _tree_suits(provider: Provider, root: Provider, group: Group) -> bool:
    """An aggregate of a root counts for its whole tree."""
    if group.member_of and not (_in_aggregates(provider, group) or _in_aggregates(root, group)):
        return False
    return group.not_member_of.isdisjoint(provider.aggregates) and group.not_member_of.isdisjoint(root.aggregates)


def _together_suit(providers: tuple[str, ...], group: Group, forest: Forest) -> bool:
    """Whether providers have the wanted traits together, and none has a forbidden one."""
    if not group.required and not group.forbidden:
        return True
    together = frozenset[str]().union(*(forest.traits[one] for one in providers))
    return together.isdisjoint(group.forbidden) and not any(together.isdisjoint(choice) for choice in group.required)


# All groups.


def _merge(request: CandidateRequest, combination: tuple[Choice, ...], forest: Forest) -> AllocationRequest | None:
    """The groups' choices as one answer; None when they don't go together."""
    mappings = {choice.suffix: sorted(choice.providers) for choice in combination}
    if request.isolate:
        granular = [choice.providers[0] for choice in combination if choice.suffix]
        if len(set(granular)) != len(granular):
            return None
    if not all(_one_subtree([mappings[suffix] for suffix in suffixes], forest) for suffixes in request.same_subtrees):
        return None
    allocations: dict[str, dict[str, int]] = {}
    for provider, name, amount in chain.from_iterable(choice.takes for choice in combination):
        resources = allocations.setdefault(provider, {})
        resources[name] = resources.get(name, 0) + amount
    if len(combination) > 1 and not all(_holds(forest.providers[one], resources) for one, resources in allocations.items()):
        return None
    if not request.nested and len({forest.providers[one].root_id for one in allocations}) != len(allocations):
        return None
    shares = {provider: Share(resources=resources) for provider, resources in allocations.items()}
    return AllocationRequest(allocations=shares, mappings=mappings)


def _holds(provider: Provider, resources: dict[str, int]) -> bool:
    """Whether amounts that several groups take of a provider fit together."""
    for name, amount in resources.items():
        inventory = provider.inventories[name]
        if amount > inventory.max_unit or provider.used.get(name, 0) + amount > inventory.capacity:
            return False
    return True


def _one_subtree(groups: list[list[str]], forest: Forest) -> bool:
    """Whether one of the providers is above (or is) all the others."""
    providers = set(chain.from_iterable(groups))
    return bool(set[str].intersection(*(forest.ancestors(one) for one in providers)) & providers)
