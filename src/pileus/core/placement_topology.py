"""What a flavor and an image ask of a host's NUMA nodes (`hw:numa_nodes`) and huge pages (`hw:mem_page_size`)."""

import re
from collections.abc import Iterable
from typing import Any

from pileus.model.errors import Invalid
from pileus.model.hosts import NumaNode
from pileus.model.placement import Cell, NumaWish
from pileus.model.servers import ServerFlavor

LARGE_PAGES = (1048576, 2048)
"""KiB; what `large` means, in the order in which they are tried."""
UNITS = {"": 1, "K": 1, "KB": 1, "KIB": 1, "M": 1024, "MB": 1024, "MIB": 1024, "G": 1048576, "GB": 1048576, "GIB": 1048576}
MOST_NODES = 64


def numa_wish(flavor: ServerFlavor, properties: dict[str, Any]) -> NumaWish | None:
    """The guest's NUMA nodes; None when it asks for none. They are of one size unless numa_cpus.N and numa_mem.N say how large."""
    text = _asked(flavor, properties, "numa_nodes")
    if text is None:
        return None
    count = int(text) if text.isdigit() else 0
    if not 1 <= count <= min(MOST_NODES, flavor.vcpus):
        raise Invalid(f"hw:numa_nodes={text}: a number from 1 to the flavor's {flavor.vcpus} vCPUs is expected.", field="hw:numa_nodes")
    cpus = [_asked(flavor, properties, f"numa_cpus.{number}") for number in range(count)]
    memory = [_asked(flavor, properties, f"numa_mem.{number}") for number in range(count)]
    if any(one is not None for one in cpus + memory):
        return _uneven(flavor, cpus, memory)
    if flavor.vcpus % count or flavor.ram % count:
        text = f"{flavor.vcpus} vCPUs and {flavor.ram} MiB don't make {count} even NUMA nodes: give hw:numa_cpus.N and hw:numa_mem.N."
        raise Invalid(text, field="hw:numa_nodes")
    return NumaWish(cells=(Cell(cpus=flavor.vcpus // count, memory_mib=flavor.ram // count),) * count)


def _uneven(flavor: ServerFlavor, cpus: list[str | None], memory: list[str | None]) -> NumaWish:
    sizes = [int(one) if one is not None and one.isdigit() else -1 for one in memory]
    counts = [_count(one) if one is not None else -1 for one in cpus]
    if -1 in sizes or -1 in counts or sum(sizes) != flavor.ram or sum(counts) != flavor.vcpus:
        text = f"hw:numa_cpus.N and hw:numa_mem.N must name each node and add up to {flavor.vcpus} vCPUs and {flavor.ram} MiB."
        raise Invalid(text, field="hw:numa_nodes")
    return NumaWish(cells=tuple(Cell(cpus=count, memory_mib=size) for count, size in zip(counts, sizes, strict=True)))


def _count(text: str) -> int:
    """How many CPUs a list like 0-3,^2,7 names; -1 when it is none."""
    found: set[int] = set()
    without: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\^?)(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if match is None:
            return -1
        (without if match[1] else found).update(range(int(match[2]), int(match[3] or match[2]) + 1))
    return len(found - without)


def page_choices(flavor: ServerFlavor, properties: dict[str, Any]) -> list[dict[str, int]]:
    """The huge pages that would do, as resources, the best first; empty when ordinary pages do."""
    text = _asked(flavor, properties, "mem_page_size")
    if text is None or text in ("small", "any", "4", "4KB", "4K", "4KiB"):
        return []
    match = re.fullmatch(r"(\d{1,9})\s*([A-Za-z]*)", text)
    sizes = LARGE_PAGES if text == "large" else (int(match[1]) * UNITS.get(match[2].upper(), 0),) if match else (0,)
    found = [{page_class(size): flavor.ram * 1024 // size} for size in sizes if size and flavor.ram * 1024 % size == 0]
    if not found:
        reason = f"hw:mem_page_size={text}: small, any, large or a size like 2MB, of which the flavor's {flavor.ram} MiB are a multiple."
        raise Invalid(reason, field="hw:mem_page_size")
    return found


def _asked(flavor: ServerFlavor, properties: dict[str, Any], name: str) -> str | None:
    value = flavor.extra_specs.get(f"hw:{name}", properties.get(f"hw_{name}"))
    return None if value is None else str(value)


def page_class(size_kib: int) -> str:
    """The resource class of huge pages of a size."""
    return f"CUSTOM_PAGES_{size_kib}KIB"


def pages_of(nodes: Iterable[NumaNode]) -> dict[str, int]:
    """How many huge pages of each size a host has in all, by resource class."""
    found: dict[str, int] = {}
    for node in nodes:
        for size, count in node.pages.items():
            if count:
                found[page_class(size)] = found.get(page_class(size), 0) + count
    return found
