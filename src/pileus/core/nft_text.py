"""Pieces of nftables text: chains and sets of device names."""


def chain(name: str, rules: list[str], hook: str = "") -> list[str]:
    """The lines of a chain; `hook` is its type, hook, priority and policy."""
    return [f"\tchain {name} {{", *([f"\t\t{hook}"] if hook else []), *(f"\t\t{rule}" for rule in rules), "\t}"]


def quoted(devices: list[str]) -> str:
    """An anonymous set of device names; empty when there are none (nft knows no empty set)."""
    return "{ " + ", ".join(f'"{device}"' for device in sorted(set(devices))) + " }" if devices else ""
