"""Measures the control plane on simulated hosts: start, memory, and CPU of each operation from the operating system's accounting.

    ./pileus bench control-plane [--json] [--servers 1000] [--hosts 20]

A cloud of its own is started in a temporary directory on a free port, and removed afterwards. CPU is user plus system time of the control
plane's process between two looks at /proc, divided by the number of requests; the clock's tick is 10 ms, so operations are repeated.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pileus.cli.client import Api
from pileus.cli.settings import load
from pileus.cli.status import proportional_memory
from pileus.model.errors import PileusError

PROMISES = {
    "start to first token, s": 1.0,
    "idle memory (PSS), MiB": 120.0,
    "import of the cloud role, s": 0.4,
    "validate a token, ms CPU": 0.1,
    "list 1,000 servers in detail, ms CPU": 15.0,
    "create a port, ms CPU": 3.0,
    "create a network, ms CPU": 3.0,
    "create a server, ms CPU": 8.0,
    "burst of 50 servers until ACTIVE, s": 1.0,
}
OPENSTACK = {
    "start to first token, s": 31.6,
    "idle memory (PSS), MiB": 2724.0,
    "list 1,000 servers in detail, ms CPU": 4920.0,
    "create a port, ms CPU": 85.0,
    "create a network, ms CPU": 153.0,
    "create a server, ms CPU": 1320.0,
    "burst of 50 servers until ACTIVE, s": 34.8,
}


class Cloud:
    """A simulated cloud in a process of its own."""

    def __init__(self, hosts: int) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="pileus-bench-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pileus.cli.main",
                "--state",
                str(self.state),
                "serve",
                "--listen",
                self.listen,
                "--simulate",
                str(hosts),
            ]
        )
        self.first_token = self._first_token()
        self.admin = Api(load(self.state), "admin", "admin")
        self.demo = Api(load(self.state))

    def _first_token(self) -> float:
        while time.monotonic() < self.started + 60:
            try:
                if not (self.state / "clouds.yaml").exists():
                    raise FileNotFoundError
                Api(load(self.state)).login()
                return time.monotonic() - self.started
            except (PileusError, OSError, ValueError):
                time.sleep(0.005)
        raise SystemExit("the control plane did not start within 60 s")

    def cpu(self) -> float:
        """Seconds of CPU that the control plane has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cost(self, times: int, work: Callable[[int], object]) -> float:
        """Milliseconds of CPU of one call, reconciling included: the measure ends when the control plane is at rest."""
        before = self.cpu()
        for number in range(times):
            work(number)
        self.rest()
        return (self.cpu() - before) / times * 1000

    def rest(self) -> None:
        """Wait until it uses no CPU."""
        last = self.cpu()
        quiet = 0
        while quiet < 4:
            time.sleep(0.05)
            now = self.cpu()
            quiet = quiet + 1 if now - last < 0.011 else 0
            last = now

    def close(self) -> None:
        """Stop it and remove its directory."""
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.state)


def prepare(cloud: Cloud) -> dict[str, Any]:
    """Flavor, image, network and room enough."""
    project = cloud.demo.call("GET", "/identity/v3/auth/projects")["projects"][0]["id"]
    limits = {"instances": -1, "cores": -1, "ram": -1}
    cloud.admin.call("PUT", f"/compute/v2.1/os-quota-sets/{project}", {"quota_set": limits})
    cloud.admin.call("PUT", f"/network/v2.0/quotas/{project}", {"quota": {"network": -1, "port": -1, "subnet": -1}})
    flavor = {"name": "bench", "vcpus": 1, "ram": 64, "disk": 1, "id": "bench"}
    cloud.admin.post("/compute/v2.1/flavors", {"flavor": flavor})
    image = cloud.admin.post(
        "/image/v2/images", {"name": "bench", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    )
    blank = cloud.state / "blank"
    blank.write_bytes(bytes(1 << 20))
    cloud.admin.upload(f"/image/v2/images/{image['id']}/file", blank, lambda part: None)
    network = cloud.demo.post("/network/v2.0/networks", {"network": {"name": "bench"}})["network"]
    subnet = {"network_id": network["id"], "cidr": "10.0.0.0/16", "ip_version": 4}
    cloud.demo.post("/network/v2.0/subnets", {"subnet": subnet})
    return {"image": image["id"], "network": network["id"]}


def server_body(made: dict[str, Any], name: str, count: int = 1) -> dict[str, Any]:
    """A request for servers."""
    server = {"name": name, "imageRef": made["image"], "flavorRef": "bench", "networks": [{"uuid": made["network"]}]}
    return {"server": server | ({"min_count": count, "max_count": count} if count > 1 else {})}


def wait_active(cloud: Cloud, wanted: int) -> None:
    """Until so many servers are ACTIVE."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if len(cloud.demo.get("/compute/v2.1/servers?status=ACTIVE&limit=1000")["servers"]) >= min(wanted, 1000):
            return
        time.sleep(0.02)
    raise SystemExit(f"{wanted} servers did not become ACTIVE within 300 s")


def validation() -> float:
    """Milliseconds of CPU to validate a token that is not cached, in this process."""
    import asyncio

    from pileus.api.identity.tokens import FernetTokens
    from pileus.model.identity import Identity
    from pileus.store.schema import migrate
    from pileus.store.sqlite import SqliteDatabase

    with tempfile.TemporaryDirectory() as folder:

        async def measure() -> float:
            db = SqliteDatabase(Path(folder) / "db")
            await migrate(db)
            tokens = FernetTokens(Path(folder) / "keys", db)
            await tokens.load()
            now = time.time()
            made = [
                tokens.issue(
                    Identity(
                        user_id=f"{number:032x}", project_id=f"{number:032x}", roles=frozenset({"member", "reader"}), methods=("password",),
                        audit_ids=("abcdefghijklmnopqrstuv",), issued_at=now, expires_at=now + 3600,
                    )
                )
                for number in range(2000)
            ]  # fmt: skip
            before = time.process_time()
            for token in made:
                tokens.validate(token)
            spent = time.process_time() - before
            await db.close()
            return spent / len(made) * 1000

        return asyncio.run(measure())


def import_time() -> float:
    """Seconds to import what the cloud role needs, the best of three."""
    program = (
        "import time; t = time.perf_counter(); import pileus.cli.control_plane as c, uvicorn; c.load_services(); "
        "print(time.perf_counter() - t)"
    )
    cached = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = [sys.executable, "-c", program]
    return min(float(subprocess.run(run, capture_output=True, text=True, check=True, env=cached).stdout) for _ in range(3))


def measure(hosts: int, servers: int) -> dict[str, float]:
    """Every figure."""
    found: dict[str, float] = {"import of the cloud role, s": import_time(), "validate a token, ms CPU": validation()}
    cloud = Cloud(hosts)
    try:
        found["start to first token, s"] = cloud.first_token
        cloud.rest()
        found["idle memory (PSS), MiB"] = proportional_memory(cloud.process.pid)
        made = prepare(cloud)
        post = cloud.demo.post
        found["create a network, ms CPU"] = cloud.cost(50, lambda n: post("/network/v2.0/networks", {"network": {"name": f"n{n}"}}))
        port = {"port": {"network_id": made["network"]}}
        found["create a port, ms CPU"] = cloud.cost(100, lambda n: post("/network/v2.0/ports", port))
        began = time.monotonic()
        post("/compute/v2.1/servers", server_body(made, "burst", 50))
        wait_active(cloud, 50)
        found["burst of 50 servers until ACTIVE, s"] = time.monotonic() - began
        found["create a server, ms CPU"] = cloud.cost(100, lambda n: post("/compute/v2.1/servers", server_body(made, f"s{n}")))
        for start in range(150, servers, 50):
            post("/compute/v2.1/servers", server_body(made, f"fill{start}", 50))
        wait_active(cloud, servers)
        cloud.rest()
        get = cloud.demo.get
        detail = "/compute/v2.1/servers/detail?limit=1000"
        found["the same list, the first time, ms CPU"] = cloud.cost(1, lambda n: get(detail))
        found["list 1,000 servers in detail, ms CPU"] = cloud.cost(40, lambda n: get(detail))
        found["memory with the servers (PSS), MiB"] = proportional_memory(cloud.process.pid)
    finally:
        cloud.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=20)
    options = parser.parse_args()
    found = measure(options.hosts, options.servers)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{'measure':<42} {'here':>10} {'promise':>10} {'OpenStack 2026.2':>18}")
    for name, value in found.items():
        promise, other = PROMISES.get(name), OPENSTACK.get(name)
        print(f"{name:<42} {value:>10.3f} {'' if promise is None else f'< {promise:g}':>10} {'' if other is None else f'{other:g}':>18}")


if __name__ == "__main__":
    main()
