"""Whether allocations fit a provider."""

from pileus.model.placement import Provider


def total(*parts: dict[str, int]) -> dict[str, int]:
    """The sum of amounts by resource class."""
    result: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            result[name] = result.get(name, 0) + amount
    return result


def used_after(provider: Provider, taken_away: dict[str, int], added: dict[str, int]) -> dict[str, int]:
    """What is used of a provider after a change; classes that are no longer used are left out."""
    names = {**provider.used, **added}
    after = {name: provider.used.get(name, 0) - taken_away.get(name, 0) + added.get(name, 0) for name in names}
    return {name: amount for name, amount in after.items() if amount}


def refusal(provider: Provider, allocations: list[dict[str, int]], after: dict[str, int]) -> str:
    """Why these allocations can't be made so that `after` is used; empty when they can.

    A provider that is over its capacity already (its inventory shrank) takes a change that does not make it worse.
    """
    for resources in allocations:
        for name, amount in resources.items():
            inventory = provider.inventories.get(name)
            if inventory is None:
                return f"Inventory for '{name}' on resource provider '{provider.id}' invalid: it has none."
            if not inventory.allows(amount):
                return (
                    f"Unable to create allocation for '{name}' on resource provider '{provider.id}'. "
                    "The requested amount would violate inventory constraints: "
                    f"{amount} is not within {inventory.min_unit} to {inventory.max_unit} in steps of {inventory.step_size}."
                )
            if after[name] > inventory.capacity and after[name] > provider.used.get(name, 0):
                return (
                    f"Unable to create allocation for '{name}' on resource provider '{provider.id}'. "
                    f"The requested amount would exceed the capacity: {after[name]} used of {inventory.capacity}."
                )
    return ""
