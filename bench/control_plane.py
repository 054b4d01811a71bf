"""Measures the control plane on simulated hosts: CPU by the operating system's accounting, p50, p99, memory, on SQLite and PostgreSQL.

    ./pileus bench control-plane [--quick] [--stores SQLite,PostgreSQL] [--json] [--write]

Clouds of their own are started in a temporary directory on free ports, and removed afterwards. CPU is that of the control plane's process
alone, reconciling included: a measure ends when it is at rest. --write puts the table, its figures and the plot into docs/benchmarks/.
Exit 1: a promise does not hold, or something grows faster than in proportion. PostgreSQL needs root, and Debian's package of it.
"""

import argparse
import asyncio
import compileall
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

import pileus
from bench import report
from bench.calibration import machine
from bench.cloud import STORES, Cloud, new_image, prepare, server_body, wait_built
from bench.images import copy_seconds, hash_speeds
from bench.load import Ask, Figure, measure, times
from bench.report import Row
from pileus.cli.client import Api
from pileus.cli.settings import load

HOSTS = 50
NETWORKS, PORTS, SUBNETS, SERVERS = "/network/v2.0/networks", "/network/v2.0/ports", "/network/v2.0/subnets", "/compute/v2.1/servers"
CANDIDATES = "/placement/allocation_candidates?resources=VCPU:2,MEMORY_MB:4096,DISK_GB:20"
BLOCK = os.urandom(1 << 20)


class Bench:
    """Every operation on one store."""

    def __init__(self, store: str, quick: bool) -> None:
        self.store = store
        self.quick = quick
        self.sizes = (0, 100) if quick else (0, 100, 1000, 10000)
        self.rows: list[Row] = []
        self.made: dict[str, Any] = {}
        self.more: dict[int, str] = {}
        self.servers = 0

    def run(self) -> list[Row]:
        """The rows, in the order in which they were measured."""
        with Cloud(HOSTS, self.store) as cloud:
            self.idle(cloud)
            self.made = prepare(cloud)
            self.tokens(cloud)
            self.networks(cloud)
            for size in self.sizes:
                self.grow(cloud, size)
                self.lists(cloud, size)
            self.concurrency(cloud)
            self.removal(cloud)
            self.images(cloud)
        self.candidates()
        return self.rows

    def note(self, group: str, name: str, figure: Figure | float, unit: str = "ms CPU") -> None:
        """Keep a figure, and show that there is progress."""
        row = Row.of(group, name, figure, unit)
        self.rows.append(row)
        print(f"{self.store:<11} {name:<58} {row.value:>10.3f} {unit}", file=sys.stderr, flush=True)

    def idle(self, cloud: Cloud) -> None:
        """Before anybody asks."""
        self.note("Start", "start to first token", cloud.first_token, "s")
        cloud.rest()
        before, began = cloud.cpu(), time.monotonic()
        time.sleep(1 if self.quick else 10)
        self.note("Start", f"idle, {HOSTS} hosts", (cloud.cpu() - before) / (time.monotonic() - began) * 100, "% of a CPU")
        self.note("Start", "idle memory (PSS)", cloud.memory(), "MiB")

    def tokens(self, cloud: Cloud) -> None:
        """Issue: mostly argon2id, in threads. Validation: of a token by another request, and as each request does it."""
        api = Api(load(cloud.state))
        user = {"name": "demo", "domain": {"id": "default"}, "password": api.password}
        scope = {"project": {"name": "demo", "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        login = Ask("POST", "/identity/v3/auth/tokens", body)
        self.note("Tokens", "issue a token by password", measure(cloud, [login] * 20)[0])
        self.note("Tokens", "issue a token by password, 8 at a time", measure(cloud, [login] * 40, 8)[0])
        api.login()
        again = {"auth": {"identity": {"methods": ["token"], "token": {"id": api.token}}, "scope": scope}}
        self.note("Tokens", "issue a token by token", measure(cloud, [Ask("POST", "/identity/v3/auth/tokens", again)] * 100)[0])
        shown = Ask("GET", "/identity/v3/auth/tokens", headers={"X-Subject-Token": str(api.token)})
        self.note("Tokens", "GET /v3/auth/tokens, with the catalog", measure(cloud, [shown] * 200)[0])
        if self.store == STORES[0]:
            self.note("Tokens", "validate a token, not cached, in the process", validation())

    def networks(self, cloud: Cloud) -> None:
        """Create and delete."""
        count = 30 if self.quick else 100
        figure, answers = measure(cloud, times(count, lambda n: Ask("POST", NETWORKS, {"network": {"name": f"n{n}"}})))
        self.note("Network", "create a network", figure)
        networks = ids(answers, "network")
        figure, answers = measure(
            cloud,
            times(
                count,
                lambda n: Ask("POST", SUBNETS, {"subnet": {"network_id": networks[n], "cidr": f"10.{n + 1}.0.0/24", "ip_version": 4}}),
            ),
        )
        self.note("Network", "create a subnet", figure)
        subnets = ids(answers, "subnet")
        port = {"port": {"network_id": self.made["network"]}}
        ports: list[str] = []
        for together in (1, 8, 64):
            figure, answers = measure(cloud, [Ask("POST", PORTS, port)] * (count * 2), together)
            self.note("Network", "create a port" + (f", {together} at a time" if together > 1 else ""), figure)
            ports += ids(answers, "port")
        for name, path, found in (("port", PORTS, ports), ("subnet", SUBNETS, subnets), ("network", NETWORKS, networks)):
            asks = [Ask("DELETE", f"{path}/{one}") for one in found[: count * 2]]
            self.note("Network", f"delete a {name}", measure(cloud, asks)[0])

    def grow(self, cloud: Cloud, size: int) -> None:
        """Until there are so many servers; on the way bursts, and servers one by one."""
        if size >= 100 and self.servers < 100:
            self.burst(cloud, 50)
            self.create(cloud, 50, "create a server, until ACTIVE")
        if size >= 1000 and self.servers < 1000:
            self.burst(cloud, 500)
        while self.servers < size:
            some = min(100, size - self.servers)
            cloud.demo.post(SERVERS, server_body(self.made | {"network": self.network(cloud)}, f"fill{self.servers}", some))
            self.servers += some
        wait_built(cloud)
        cloud.rest()
        if size >= 1000:
            self.note("Memory", f"PSS with {size:,} servers", cloud.memory(), "MiB")
        if size >= 10000:
            self.create(cloud, 50, f"create a server, until ACTIVE, {size:,} there")

    def network(self, cloud: Cloud) -> str:
        """Where the next servers are: there are a thousand in a network."""
        number = self.servers // 1000
        if number and number not in self.more:
            made = cloud.demo.post(NETWORKS, {"network": {"name": f"more{number}"}})["network"]["id"]
            cloud.demo.post(SUBNETS, {"subnet": {"network_id": made, "cidr": f"10.{200 + number}.0.0/20", "ip_version": 4}})
            self.more[number] = made
        return self.more.get(number, self.made["network"])

    def create(self, cloud: Cloud, count: int, name: str) -> None:
        """One after another."""
        asks = times(count, lambda n: Ask("POST", SERVERS, server_body(self.made, f"s{n}")))
        self.note("Servers", name, measure(cloud, asks)[0])
        self.servers += count

    def burst(self, cloud: Cloud, count: int) -> None:
        """One request for so many, until all are ACTIVE."""
        before = cloud.cpu()
        began = time.monotonic()
        cloud.demo.post(SERVERS, server_body(self.made, "burst", count))
        self.servers += count
        wait_built(cloud)
        self.note("Servers", f"burst of {count} servers until ACTIVE", time.monotonic() - began, "s")
        cloud.rest()
        self.note("Servers", f"burst of {count}, each of them", (cloud.cpu() - before) / count * 1000)

    def lists(self, cloud: Cloud, size: int) -> None:
        """All of them, by pages of 1,000 that follow each other, and single pages."""
        known = self.markers(cloud)
        rounds = 10 if size >= 10000 else 40
        for kind, path in (("list", SERVERS), ("list in detail", f"{SERVERS}/detail")):
            first = Ask("GET", f"{path}?limit=1000")
            pages = [first, *(Ask("GET", f"{path}?limit=1000&marker={known[n]}") for n in range(999, len(known) - 1, 1000))]
            figure, _ = measure(cloud, [pages] * 1)
            if kind == "list in detail" and size:
                self.note("Lists", f"{kind}, {size:,} servers, the first time", figure)
            self.note("Lists", f"{kind}, {size:,} servers", measure(cloud, [pages] * rounds)[0])
        if size >= 100:
            middle = known[len(known) // 2]
            page = f"{SERVERS}/detail?limit=20"
            self.note("Lists", f"20 of {size:,} in detail", measure(cloud, [Ask("GET", page)] * 100)[0])
            self.note(
                "Lists",
                f"20 of {size:,} in detail, after a marker in the middle",
                measure(cloud, [Ask("GET", f"{page}&marker={middle}")] * 100)[0],
            )
            self.note("Lists", f"one of {size:,} by its id", measure(cloud, [Ask("GET", f"{SERVERS}/{middle}")] * 200)[0])
            self.note("Lists", f"one of {size:,} by its name", measure(cloud, [Ask("GET", f"{SERVERS}?name=s7")] * 50)[0])

    def markers(self, cloud: Cloud) -> list[str]:
        """The ids of all servers, in the order of the list."""
        found: list[str] = []
        while True:
            after = f"&marker={found[-1]}" if found else ""
            page = [one["id"] for one in cloud.demo.get(f"{SERVERS}?limit=1000{after}")["servers"]]
            found += page
            if len(page) < 1000:
                return found

    def concurrency(self, cloud: Cloud) -> None:
        """The same work, 1, 8 and 64 at a time."""
        known = self.markers(cloud)
        for together in (1, 8, 64):
            asks = times(100 if self.quick else 640, lambda n: Ask("GET", f"{SERVERS}/{known[n % len(known)]}"))
            self.note("Concurrency", f"show a server, {together} at a time", measure(cloud, asks, together)[0])
        for together in (1, 8, 64):
            asks = [Ask("GET", f"{SERVERS}/detail?limit=100")] * (64 if self.quick else 256)
            self.note("Concurrency", f"100 servers in detail, {together} at a time", measure(cloud, asks, together)[0])
        for together in (8, 64):
            asks = times(64 if self.quick else 256, lambda n: Ask("POST", SERVERS, server_body(self.made, f"c{n}")))
            figure, answers = measure(cloud, asks, together)
            self.note("Concurrency", f"create a server, until ACTIVE, {together} at a time", figure)
            self.servers += len(answers)

    def removal(self, cloud: Cloud) -> None:
        """Servers go, with their ports."""
        known = self.markers(cloud)[:50]
        figure, _ = measure(cloud, [Ask("DELETE", f"{SERVERS}/{one}") for one in known])
        self.servers -= len(known)
        self.note("Servers", "delete a server, until it is gone", figure)

    def images(self, cloud: Cloud) -> None:
        """Content up and down: throughput, and CPU for a GiB."""
        size = 32 if self.quick else 256
        content = BLOCK * size
        for number in range(2):
            image = new_image(cloud, f"i{number}")
            path = f"/image/v2/images/{image}/file"
            up, _ = measure(cloud, [Ask("PUT", path, data=content[number:])], admin=True)
        down, _ = measure(cloud, [Ask("GET", path)] * 3, admin=True)
        source = cloud.folder / "cp-from"
        source.write_bytes(content)
        copied = [copy_seconds(source) for _ in range(3)]
        self.note("Images", f"cp {size} MiB on the same disk", size / min(one[0] for one in copied), "MiB/s")
        self.note("Images", f"cp {size} MiB, until it is on the disk", size / min(one[1] for one in copied), "MiB/s")
        for name, figure in (("upload", up), ("download", down)):
            self.note("Images", f"{name} {size} MiB", size / figure.p50 * 1000, "MiB/s")
            self.note("Images", f"{name}, CPU for a GiB", figure.cpu / 1000 * 1024 / size, "s CPU")
        for name, speed in hash_speeds().items():
            self.note("Images", f"{name} alone, one core", speed, "MiB/s")

    def candidates(self) -> None:
        """GET /allocation_candidates over as many providers as there are hosts, a cloud for each number."""
        for size in (10, 100) if self.quick else (10, 100, 1000, 10000):
            with Cloud(size, self.store) as cloud:
                while len(cloud.admin.get("/placement/resource_providers")["resource_providers"]) < size:
                    time.sleep(0.2)
                measure(cloud, [Ask("GET", CANDIDATES)] * 3, admin=True)  # the first reads every provider
                figure, _ = measure(cloud, [Ask("GET", CANDIDATES)] * 20, admin=True)
                self.note("Placement", f"allocation candidates over {size:,} providers", figure)
                figure, _ = measure(cloud, [Ask("GET", CANDIDATES + "&limit=10")] * 20, admin=True)
                self.note("Placement", f"10 allocation candidates of {size:,} providers", figure)
                if size >= 1000:
                    self.note("Memory", f"PSS with {size:,} hosts", cloud.memory(), "MiB")


def ids(answers: list[bytes], key: str) -> list[str]:
    """Of what was made."""
    return [json.loads(one)[key]["id"] for one in answers]


def validation() -> float:
    """Milliseconds of CPU to validate a token that is not cached, in this process."""
    from pileus.api.identity.tokens import FernetTokens
    from pileus.model.identity import Identity
    from pileus.store.schema import migrate
    from pileus.store.sqlite import SqliteDatabase

    async def validate(folder: str) -> float:
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

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(validate(folder))


def import_time() -> float:
    """Seconds to import what the cloud role needs, the best of three."""
    program = (
        "import time; t = time.perf_counter(); import pileus.cli.control_plane as c, uvicorn; c.load_services(); "
        "print(time.perf_counter() - t)"
    )
    cached = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = [sys.executable, "-c", program]
    return min(float(subprocess.run(run, capture_output=True, text=True, check=True, env=cached).stdout) for _ in range(3))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="below a minute: SQLite, 100 servers, 100 providers")
    parser.add_argument("--stores", default="", help="SQLite,PostgreSQL (the default, where PostgreSQL can be started)")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/")
    options = parser.parse_args()
    can = os.geteuid() == 0 and any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    stores = options.stores.split(",") if options.stores else STORES if can and not options.quick else STORES[:1]
    compileall.compile_dir(Path(pileus.__file__).parent, quiet=2)  # as an installation has done
    found: dict[str, Any] = {"machine": machine(), "stores": {}}
    start = Row.of("Start", "import of the cloud role", import_time(), "s")
    for store in stores:
        found["stores"][store] = [*([start] if store == STORES[0] else []), *Bench(store, options.quick).run()]
    found["machine"]["load after"] = round(os.getloadavg()[0], 2)
    found["slopes"] = {store: report.slopes(rows) for store, rows in found["stores"].items()}
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        print(report.markdown(found))
    if options.write:
        report.write(found, Path(__file__).parents[1] / "docs" / "benchmarks")
    broken = report.broken(found)
    print("\n".join(broken), file=sys.stderr)
    sys.exit(1 if broken and not options.quick else 0)


if __name__ == "__main__":
    main()
