"""Finds hypervisor drivers: ours by name, third parties' by entry point (group `pileus.hypervisors`)."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pileus.model.errors import NodeFailed

GROUP = "pileus.hypervisors"
OURS = {
    "qemu": "pileus.node.hypervisor.qemu:QemuDriver",
    "simulated": "pileus.node.hypervisor.simulated:SimulatedDriver",
}


def find_drivers() -> dict[str, Callable[[], Any]]:
    """Driver name -> a function that imports it and returns its class. A third party can't take the name of one of ours."""
    found: dict[str, Callable[[], Any]] = {entry.name: entry.load for entry in entry_points(group=GROUP)}
    return found | {name: _loader(path) for name, path in OURS.items()}


def load_driver(name: str) -> Any:
    """The class of a driver. NodeFailed, with the known names, when there is none."""
    drivers = find_drivers()
    if name not in drivers:
        raise NodeFailed(f"There is no hypervisor driver {name!r}; known are {', '.join(sorted(drivers))}.")
    return drivers[name]()


def _loader(path: str) -> Callable[[], Any]:
    module, _, attribute = path.partition(":")
    return lambda: getattr(import_module(module), attribute)
