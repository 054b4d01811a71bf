"""A cloud of simulated hosts that are lost, fenced by a command, and come back."""

from pathlib import Path
from typing import Any

import pytest

from pileus.model.migrations import Migration, MigrationKind
from pileus.node.agent import Agent
from pileus.node.hypervisor.simulated import SimulatedDriver
from pileus.node.machine import SimulatedMachine
from pileus.node.network.simulated import SimulatedNetwork
from pileus.reconcile import availability
from pileus.store import migration_records
from pileus.store.hosts import HOSTS
from tests.api.compute.moving import Moving, pause
from tests.api.harness import TestCloud

FENCE = """#!/bin/sh
echo "$PILEUS_HOST" >> {directory}/asked
test ! -e {directory}/broken || {{ echo "the switch does not answer"; exit 3; }}
"""


class Losing(Moving):
    """`fenced` says which hosts were to be switched off, in turn; `break_fence` has the switch fail."""

    def __init__(self, cloud: TestCloud, directory: Path, hosts: int = 3, shared_disks: bool = True) -> None:
        self.directory = directory
        super().__init__(cloud, hosts, shared_disks)

    def agent(self, name: str) -> Agent:
        """A host that reports often."""
        driver = self.drivers[name] = SimulatedDriver()
        return Agent(name, [driver], SimulatedNetwork(), SimulatedMachine(), address="127.0.0.1", period=0.1)

    @property
    def fenced(self) -> list[str]:
        """Hosts that were to be switched off."""
        file = self.directory / "asked"
        return file.read_text().split() if file.exists() else []

    def break_fence(self, broken: bool = True) -> None:
        """Whether the switch fails."""
        (self.directory / "broken").touch() if broken else (self.directory / "broken").unlink()

    def lose(self, host: str, power_off: bool = True) -> None:
        """A host is gone, and its operator says so. `power_off`: its guests are gone with it, as when it is fenced."""
        self.away.add(host)
        if power_off:
            self.drivers[host]._states.clear()
        self.service(host, forced_down=True)

    def regain(self, host: str) -> None:
        """It is there again, with what it had on its disks."""
        self.come_back(host)
        self.service(host, forced_down=False)

    def service(self, host: str, **changes: Any) -> None:
        """What an operator says of a host."""
        found = self.call("GET", f"/os-services?host={host}&binary=nova-compute", who="admin").json["services"][0]
        answer = self.call("PUT", f"/os-services/{found['id']}", changes, who="admin")
        assert answer.status == 200, answer

    def host_view(self, host: str) -> dict[str, Any]:
        """A host as `pileus host list` has it."""
        found = self.cloud.call("GET", "/cluster/v1/hosts", "admin").json["hosts"]
        return next(one for one in found if one["name"] == host)

    def host_row(self, host: str) -> Any:
        """A host's row."""
        return self.cloud.run(HOSTS.first(self.cloud.db, "name = ?", host))

    def evacuation(self, server: str) -> Migration | None:
        """The server's newest evacuation."""
        found = self.cloud.run(migration_records.of_server(self.cloud.db, server))
        return next((one for one in found if one.kind == MigrationKind.EVACUATION), None)

    def elsewhere(self, server: str, host: str) -> str:
        """Wait until the server is on another host and at rest; that host."""
        self.until(lambda: self.record(server).host != host and self.record(server).next_step == "nothing", f"{server} left {host}")
        return str(self.record(server).host)

    def turn(self, host: str, count: int = 3) -> None:
        """The reconciler has looked at a host so many times more."""
        reconciler: Any = self.engine.reconcilers["availability"]
        step, seen = reconciler.step, 0

        async def counted(id: str) -> float | None:
            nonlocal seen
            result: float | None = await step(id)
            seen += id == host
            return result

        reconciler.step = counted
        self.cloud.loop.call_soon_threadsafe(self.engine.wake, "availability", host)
        self.until(lambda: seen >= count, f"{count} looks at {host}")
        reconciler.step = step

    def rest(self) -> None:
        """Wait until no step runs."""
        self.cloud.run(pause())
        self.until(self.engine.idle, "it is idle")


def fence_command(directory: Path) -> str:
    """How the hosts of `Losing` are fenced: an entry of `fencing`."""
    program = directory / "fence"
    program.write_text(FENCE.format(directory=directory))
    program.chmod(0o755)
    return f"command:{program}"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is looked at often."""
    monkeypatch.setattr(availability, "LOOK_AGAIN", 0.05)
