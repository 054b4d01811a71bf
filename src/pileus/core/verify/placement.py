"""Invariants of Placement: providers, what they have and give, who holds it."""

from pileus.core.allocations import total
from pileus.core.traits import RESOURCE_CLASSES, TRAITS
from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.repairs import CountUsage, DeleteRow, RaiseEpoch, ReleaseAllocations
from pileus.core.verify.world import World
from pileus.model.migrations import MigrationStep


def servers_have_allocations(world: World) -> Findings:
    """Every placed server holds what its flavor says, on its host's provider and nowhere else."""
    for server in world.servers:
        host = world.host_of.get(server.host or "")
        if host is None or server.migration is not None:  # which holds its old host's for it
            continue
        held = world.allocations.get(server.id, {})
        if set(held) != {host.id}:
            yield Finding(
                evidence=f"server {server.id} is on {server.host} (provider {host.id}) but holds allocations of {sorted(held) or 'none'}"
            )
        elif server.resize is None and held[host.id].get("VCPU", 0) != server.vcpus and "resources:VCPU" not in server.flavor.extra_specs:
            yield Finding(evidence=f"server {server.id} has {server.vcpus} vCPUs and holds {held[host.id]}")


def allocations_have_consumers(world: World) -> Findings:
    """Nothing of a host is held by a server that is gone. (Consumers that are no servers of ours are their makers' business.)"""
    ended = {move.id for move in world.moves if move.step == MigrationStep.DONE}
    hosts = {host.id for host in world.hosts}
    for consumer, held in sorted(world.allocations.items()):
        if consumer not in world.server_of and consumer not in world.alive and consumer not in ended and hosts & held.keys():
            yield Finding(
                evidence=f"consumer {consumer} holds {held} and is no living server; if it is not another program's, give it back with "
                f"openstack resource provider allocation delete {consumer}",
                repair=ReleaseAllocations(consumer_id=consumer) if consumer in world.gone else None,
            )


def ended_moves_hold_nothing(world: World) -> Findings:
    """What a migration held of the host that its server left is free once it is over."""
    for move in world.moves:
        if move.step == MigrationStep.DONE and move.id in world.allocations:
            yield Finding(
                evidence=f"migration {move.id} of server {move.server_id} is over, and holds {world.allocations[move.id]}",
                repair=ReleaseAllocations(consumer_id=move.id),
            )


def usage_is_the_sum(world: World) -> Findings:
    """What a provider's row counts is what its allocations add up to."""
    shares: dict[str, list[dict[str, int]]] = {}
    for held in world.allocations.values():
        for provider, resources in held.items():
            shares.setdefault(provider, []).append(resources)
    for provider in world.providers:
        counted = {name: amount for name, amount in provider.used.items() if amount}
        added = total(*shares.get(provider.id, []))
        if counted != added:
            yield Finding(
                evidence=f"provider {provider.name} ({provider.id}) counts {counted}, its allocations add up to {added}",
                repair=CountUsage(provider_id=provider.id),
            )


def usage_fits(world: World) -> Findings:
    """No provider gives more than it has."""
    for provider in world.providers:
        for name, amount in sorted(provider.used.items()):
            stock = provider.inventories.get(name)
            capacity = stock.capacity if stock else 0
            if amount > capacity:
                yield Finding(
                    evidence=f"provider {provider.name} ({provider.id}) has {capacity} {name} and gives {amount}; move servers away, or "
                    "raise its inventory's allocation ratio"
                )


def hosts_have_providers(world: World) -> Findings:
    """Without one nothing can be placed on it."""
    for host in world.hosts:
        provider = world.provider_of.get(host.id)
        if provider is None:
            yield Finding(evidence=f"host {host.name} has no provider {host.id}; its next report makes one")


def provider_trees_hang_together(world: World) -> Findings:
    """A provider's parent exists, and both have the same root; a root is its own."""
    for provider in world.providers:
        parent = world.provider_of.get(provider.parent_id or "")
        if provider.parent_id is None and provider.root_id != provider.id:
            yield Finding(evidence=f"provider {provider.id} has no parent, and its root is {provider.root_id}")
        elif provider.parent_id is not None and parent is None:
            yield Finding(evidence=f"provider {provider.id} is below {provider.parent_id}, which is gone")
        elif parent is not None and parent.root_id != provider.root_id:
            yield Finding(evidence=f"provider {provider.id} has the root {provider.root_id}, its parent has {parent.root_id}")


def provider_trees_have_no_cycle(world: World) -> Findings:
    """Going up from a provider ends."""
    for top in cyclic({one.id: one.parent_id for one in world.providers}):
        yield Finding(evidence=f"provider {top} is below itself")


def cyclic(above: dict[str, str | None]) -> list[str]:
    """Of a forest {child: parent}, the smallest node of each cycle; each node is visited once."""
    done: set[str] = set()
    found: list[str] = []
    for start in above:
        path: dict[str, int] = {}
        node: str | None = start
        while node is not None and node in above and node not in done and node not in path:
            path[node] = len(path)
            node = above[node]
        if node is not None and node in path:
            found.append(min(one for one, place in path.items() if place >= path[node]))
        done.update(path)
    return sorted(found)


def allocations_are_of_providers(world: World) -> Findings:
    """What is held is held of something."""
    for consumer, held in sorted(world.allocations.items()):
        for provider in held:
            if provider not in world.provider_of:
                yield Finding(
                    evidence=f"consumer {consumer} holds {held[provider]} of provider {provider}, which is gone",
                    repair=_allocation_row(consumer, provider),
                )


def _allocation_row(consumer: str, provider: str) -> DeleteRow:
    return DeleteRow(table="allocations", key=(("consumer_id", consumer), ("provider_id", provider)), why="its provider is gone")


def allocations_are_positive(world: World) -> Findings:
    """Nobody holds nothing, or less."""
    for consumer, held in sorted(world.allocations.items()):
        for provider, resources in held.items():
            if not resources or any(amount <= 0 for amount in resources.values()):
                yield Finding(evidence=f"consumer {consumer} holds {resources} of provider {provider}")


def consumers_hold_something(world: World) -> Findings:
    """A consumer exists as long as it has allocations."""
    for consumer in world.consumers:
        if consumer.id not in world.allocations:
            yield Finding(
                evidence=f"consumer {consumer.id} ({consumer.consumer_type}) holds nothing",
                repair=DeleteRow(table="consumers", key=(("id", consumer.id),), why="it holds nothing"),
            )


def holders_are_consumers(world: World) -> Findings:
    """Who holds something has a record that says whose it is."""
    known = {one.id for one in world.consumers}
    for consumer in sorted(world.allocations.keys() - known):
        yield Finding(evidence=f"consumer {consumer} holds {world.allocations[consumer]}, and has no record")


def consumers_are_their_servers_projects(world: World) -> Findings:
    """What a server holds counts for its project."""
    for consumer in world.consumers:
        server = world.server_of.get(consumer.id)
        if server is not None and consumer.project_id != server.project_id:
            yield Finding(evidence=f"server {server.id} is of project {server.project_id}, what it holds counts for {consumer.project_id}")


def inventories_are_sound(world: World) -> Findings:
    """An inventory could be given out."""
    for provider in world.providers:
        for name, stock in sorted(provider.inventories.items()):
            portions = 0 < stock.min_unit <= stock.max_unit and stock.step_size > 0
            if stock.total < 0 or not 0 <= stock.reserved <= stock.total or stock.allocation_ratio <= 0 or not portions:
                yield Finding(
                    evidence=f"provider {provider.name} ({provider.id}) has {stock.total} {name}, {stock.reserved} reserved, ratio "
                    f"{stock.allocation_ratio:g}, portions of {stock.min_unit} to {stock.max_unit} by {stock.step_size}"
                )


def traits_are_known(world: World) -> Findings:
    """A trait of a provider can be asked for."""
    for provider in world.providers:
        for name in provider.traits:
            if name not in TRAITS and name not in world.custom_traits:
                yield Finding(evidence=f"provider {provider.name} ({provider.id}) has the trait {name}, which nobody made")


def resource_classes_are_known(world: World) -> Findings:
    """A resource class of a provider can be asked for."""
    known = {*RESOURCE_CLASSES, *world.custom_classes}
    for provider in world.providers:
        for name in provider.inventories:
            if name not in known:
                yield Finding(evidence=f"provider {provider.name} ({provider.id}) has an inventory of {name}, which nobody made")


def epoch_is_the_newest(world: World) -> Findings:
    """What is kept in memory hears of a change by its epoch."""
    for provider in world.providers:
        if provider.changed > world.epoch:
            yield Finding(
                evidence=f"provider {provider.name} ({provider.id}) changed at epoch {provider.changed}, Placement's is older",
                repair=RaiseEpoch(),
            )


INVARIANTS = invariants(
    (servers_have_allocations, "A placed server holds its allocation on its host, and on no other."),
    (allocations_have_consumers, "Every allocation of a host belongs to a living server."),
    (ended_moves_hold_nothing, "A migration that is over holds nothing."),
    (usage_is_the_sum, "A provider's use is the sum of its allocations."),
    (usage_fits, "No provider gives more than it has."),
    (hosts_have_providers, "Every host is a provider."),
    (provider_trees_hang_together, "A provider's parent exists and has the same root."),
    (provider_trees_have_no_cycle, "No provider is below itself."),
    (allocations_are_of_providers, "Every allocation is of a provider that exists."),
    (allocations_are_positive, "Every allocation is of something."),
    (consumers_hold_something, "Every consumer holds something."),
    (holders_are_consumers, "Who holds something has a consumer's record."),
    (consumers_are_their_servers_projects, "What a server holds counts for its project."),
    (inventories_are_sound, "Every inventory can be given out."),
    (traits_are_known, "Every trait of a provider is known."),
    (resource_classes_are_known, "Every inventory is of a resource class that is known."),
    (epoch_is_the_newest, "No provider is newer than Placement's epoch."),
    repairable=(
        allocations_have_consumers, ended_moves_hold_nothing, usage_is_the_sum, allocations_are_of_providers, consumers_hold_something,
        epoch_is_the_newest,
    ),
)  # fmt: skip
