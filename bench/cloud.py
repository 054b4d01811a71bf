"""A cloud of simulated hosts in a process of its own, on SQLite or PostgreSQL, and what the operating system says it uses."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from pileus.cli.client import Api
from pileus.cli.daemons import Postgresql, database_url
from pileus.cli.settings import load
from pileus.cli.status import proportional_memory
from pileus.model.errors import PileusError

STORES = ("SQLite", "PostgreSQL")
TICK = os.sysconf("SC_CLK_TCK")


class Cloud:
    """Started when made, `before` having been called with its state directory; `close` leaves nothing of it. `first_token`: seconds from
    the start of its process until a login succeeded."""

    def __init__(self, hosts: int, store: str = "SQLite", before: Callable[[Path], object] = lambda state: None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pileus-bench-"))
        self.folder.chmod(0o711)  # PostgreSQL's user goes through
        self.state = self.folder / "state"
        self.postgresql = Postgresql(self.folder) if store == "PostgreSQL" else None
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"
        try:
            options: list[str] = []
            if self.postgresql:
                self.postgresql.start()
                options = ["--database", database_url(self.folder)]
            before(self.state)
            self._start(hosts, options)
        except BaseException:
            self.close()
            raise

    def _start(self, hosts: int, options: list[str]) -> None:
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(self.state), "serve", "--listen", self.listen]
        began = time.monotonic()
        self.process = subprocess.Popen([*command, "--simulate", str(hosts), *options])
        self.first_token = self._first_token(began)
        self.admin = Api(load(self.state), "admin", "admin")
        self.demo = Api(load(self.state))

    def _first_token(self, began: float) -> float:
        while time.monotonic() < began + 60:
            try:
                if not (self.state / "clouds.yaml").exists():
                    raise FileNotFoundError
                Api(load(self.state)).login()
                return time.monotonic() - began
            except (PileusError, OSError, ValueError):
                time.sleep(0.005)
        raise SystemExit("the control plane did not start within 60 s")

    def __enter__(self) -> "Cloud":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The control plane's process."""
        assert self.process is not None
        return self.process.pid

    def cpu(self) -> float:
        """Seconds of CPU that the control plane has used, all its threads, to the nanosecond: its own clock of the kernel."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def database_cpu(self) -> float:
        """Seconds of CPU that PostgreSQL's processes have used, to the tick of 10 ms."""
        found = 0
        for one in Path("/proc").iterdir() if self.postgresql else ():
            with contextlib.suppress(OSError):
                if one.name.isdecimal():
                    fields = (one / "stat").read_text().rpartition(")")[2].split()
                    pid = self.postgresql.pid() if self.postgresql else None
                    if pid in (int(one.name), int(fields[1])):
                        found += int(fields[11]) + int(fields[12])
        return found / TICK

    def memory(self) -> float:
        """PSS, MiB."""
        return proportional_memory(self.pid)

    def rest(self) -> None:
        """Wait until it has nothing more to do than its hosts' reports."""
        last = self.cpu()
        quiet = 0
        while quiet < 4:
            time.sleep(0.05)
            now = self.cpu()
            quiet = quiet + 1 if now - last < 0.011 else 0
            last = now

    def close(self) -> None:
        """Stop it and remove its directory."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.postgresql:
            self.postgresql.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def prepare(cloud: Cloud) -> dict[str, Any]:
    """Flavor, image, network and room enough."""
    project = cloud.demo.call("GET", "/identity/v3/auth/projects")["projects"][0]["id"]
    limits = {"instances": -1, "cores": -1, "ram": -1}
    cloud.admin.call("PUT", f"/compute/v2.1/os-quota-sets/{project}", {"quota_set": limits})
    cloud.admin.call("PUT", f"/network/v2.0/quotas/{project}", {"quota": {"network": -1, "port": -1, "subnet": -1}})
    cloud.admin.post("/compute/v2.1/flavors", {"flavor": {"name": "bench", "vcpus": 1, "ram": 64, "disk": 1, "id": "bench"}})
    image = new_image(cloud, "bench")
    blank = cloud.folder / "blank"
    blank.write_bytes(bytes(1 << 20))
    cloud.admin.upload(f"/image/v2/images/{image}/file", blank, lambda part: None)
    network = cloud.demo.post("/network/v2.0/networks", {"network": {"name": "bench"}})["network"]
    subnet = {"network_id": network["id"], "cidr": "10.0.0.0/16", "ip_version": 4}
    cloud.demo.post("/network/v2.0/subnets", {"subnet": subnet})
    return {"image": image, "network": network["id"]}


def new_image(cloud: Cloud, name: str) -> str:
    """An image without content."""
    fields = {"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    return str(cloud.admin.post("/image/v2/images", fields)["id"])


def server_body(made: dict[str, Any], name: str, count: int = 1) -> dict[str, Any]:
    """A request for servers."""
    server = {"name": name, "imageRef": made["image"], "flavorRef": "bench", "networks": [{"uuid": made["network"]}]}
    return {"server": server | ({"min_count": count, "max_count": count} if count > 1 else {})}


def wait_built(cloud: Cloud, patience: float = 900.0) -> None:
    """Until no server is being built any more; one that is in ERROR ends the measurement."""
    deadline = time.monotonic() + patience
    while cloud.demo.get("/compute/v2.1/servers?status=BUILD&limit=1")["servers"]:
        if time.monotonic() > deadline:
            raise SystemExit(f"servers were still being built after {patience:g} s")
        time.sleep(0.02)
    if failed := cloud.demo.get("/compute/v2.1/servers/detail?status=ERROR&limit=1")["servers"]:
        raise SystemExit(f"a server could not be built: {failed[0]['fault']['message']}")
