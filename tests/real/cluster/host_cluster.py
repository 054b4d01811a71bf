"""A cloud of three hosts as the tests see it, and somebody who is connected to its server."""

import functools
import subprocess
import threading
from typing import Any

from pileus.cli.local_cluster import LocalCluster
from pileus.cli.settings import load
from tests.real.real_cloud import RealCloud, until

HOSTS = 3
COUNTER = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.2; done"


class Cluster(RealCloud):
    """A cloud of three hosts, its demo server, and its administrator."""

    @property
    def fabric(self) -> LocalCluster:
        return LocalCluster(load(self.state))

    def admin(self) -> Any:
        return self.connect("pileus-admin")

    @functools.cached_property
    def server_id(self) -> str:
        """hello's id."""
        return str(self.hello().id)

    def hello(self) -> Any:
        found = next(one for one in self.admin().compute.servers(all_projects=True, name="hello"))
        return self.admin().compute.get_server(found.id)

    def host(self) -> str:
        return str(self.hello().compute_host)

    def address(self) -> str:
        return next(str(one["addr"]) for one in self.hello().addresses["private"] if one["OS-EXT-IPS:type"] == "floating")

    def live_migrate(self, host: str | None = None) -> str:
        """Ask for it, wait until it is over; the migration's status."""
        server = self.hello()
        self.admin().compute.live_migrate_server(server, host=host, block_migration="auto")
        return self.moved(server.id)

    def moved(self, server_id: str, timeout: float = 120) -> str:
        """The newest migration's status once it is over and the server at rest."""
        ended = ("completed", "error", "cancelled", "failed", "done")

        def over() -> str:
            newest = max(self.admin().compute.migrations(instance_uuid=server_id), key=lambda one: one.id)
            server = self.admin().compute.get_server(server_id)
            return str(newest.status) if newest.status in ended and server.task_state is None else ""

        return str(until(over, timeout, "the end of the migration"))

    def processes(self, server_id: str) -> list[int]:
        """QEMU's processes that run a guest, on whatever host."""
        done = subprocess.run(["pgrep", "-f", f"^qemu-system.*guest={server_id}"], capture_output=True, text=True, check=False)
        return [int(word) for word in done.stdout.split()]


class Connection:
    """A session of ssh through the floating IP whose guest counts; what it says is read as it comes."""

    def __init__(self, cluster: Cluster) -> None:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
        argv = ["ssh", "-i", str(cluster.state / "demo_ed25519"), *options, f"pileus@{cluster.address()}", COUNTER]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.numbers: list[int] = []
        threading.Thread(target=self._read, daemon=True).start()
        until(lambda: self.numbers, 60, "the guest's first number")

    def goes_on(self) -> None:
        """A new number comes, and none was left out or repeated."""
        before = len(self.numbers)
        until(lambda: len(self.numbers) > before + 2, 60, "the connection going on")
        assert self.process.poll() is None
        assert self.numbers == list(range(1, len(self.numbers) + 1))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.numbers.append(int(line))
