"""A campaign: customers work at a cloud over HTTP while its processes are killed at random and started again.

Every customer notes what it asked for and what it was told, so that at the end each accepted request can be accounted for.
"""

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pileus.cli.client import Api, ApiError
from pileus.cli.settings import load
from pileus.model.errors import Unavailable
from tests.driver.boot_sectors import OBEDIENT, SIZE
from tests.faults.clients import ACTIONS, Expected
from tests.real.real_cloud import RealCloud, until

SERVERS = "/compute/v2.1/servers"
SERVERS_EACH = 2
SETTLES_WITHIN = 120.0
Kill = Callable[[random.Random], str | None]
"""Kills one process of a kind and says which; None when there is none at this moment."""


class Ledger:
    """What may be true of each thing with a name, after what its customer was told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected: dict[str, Expected] = {}
        self.wounded: set[str] = set()  # ids of servers whose process was killed: they may be off whatever was asked for
        self.counts: Counter[str] = Counter()

    def take(self, question: dict[str, Any], told: bool | None) -> None:
        """Whether it was accepted; None when the answer never came."""
        with self._lock:
            self.counts["lost" if told is None else "accepted" if told else "refused"] += 1
            if told is not False:
                self._expected.setdefault(question["name"], Expected()).take(question, certain=bool(told))

    def all(self) -> dict[str, Expected]:
        """By name."""
        return dict(self._expected)


class Customer:
    """Asks for things whose names begin with its letter, one at a time, until it is told to stop."""

    def __init__(self, campaign: "Campaign", letter: str, seed: str) -> None:
        self.letter = letter
        self.campaign = campaign
        self.dice = random.Random(seed + letter)
        self.api = Api(load(campaign.cloud.state))
        self.problem = ""
        self.thread = threading.Thread(target=self._work, name=f"customer {letter}", daemon=True)

    def _work(self) -> None:
        doings = [self.create, self.act, self.act, self.act, self.delete, self.mark, self.port]
        if self.campaign.admin is not None:
            doings.append(self.move)
        try:
            while not self.campaign.over.is_set():
                self._do(self.dice.choice(doings))
                self.campaign.over.wait(self.dice.uniform(0.0, 0.1))
        except Exception as error:
            self.problem = f"customer {self.letter}: {type(error).__name__}: {error}"

    def _do(self, doing: Callable[[], None]) -> None:
        """Something; a cloud that is away or says that it can't now is no problem."""
        try:
            doing()
        except (Unavailable, http.client.HTTPException):
            pass
        except ApiError as error:
            if error.data["status"] != 503:
                raise

    def ask(self, what: str, name: str, method: str, path: str, body: Any = None, api: Api | None = None, **more: str) -> None:
        """One request; its answer, or that there was none, is in the ledger."""
        question = {"asked": what, "name": name, **more}
        headers = {"OpenStack-API-Version": "compute latest"}
        try:
            (api or self.api).call(method, path, body, headers)
        except ApiError as error:
            status = error.data["status"]
            if status >= 500 and status != 503:
                raise
            self.campaign.ledger.take(question, None if status == 503 else False)
        except (Unavailable, http.client.HTTPException):
            self.campaign.ledger.take(question, None)
        else:
            self.campaign.ledger.take(question, True)

    def fresh_name(self) -> str:
        return f"{self.letter}{self.dice.randrange(10**9)}"

    def servers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get(f"{SERVERS}/detail?name=^{self.letter}")["servers"]
        return found

    def create(self) -> None:
        if len(self.servers()) < SERVERS_EACH:  # those that are being deleted hold their place in the capacity
            name = self.fresh_name()
            networks = [{"uuid": self.campaign.network}]
            document = {"name": name, "imageRef": self.campaign.image, "flavorRef": self.campaign.flavor, "networks": networks}
            self.ask("create", name, "POST", SERVERS, {"server": document})

    def act(self) -> None:
        for server in self._one():
            action = self.dice.choice(sorted(ACTIONS))
            self.ask(action, server["name"], "POST", f"{SERVERS}/{server['id']}/action", {action: ACTIONS[action][0]})

    def delete(self) -> None:
        for server in self._one():
            self.ask("delete", server["name"], "DELETE", f"{SERVERS}/{server['id']}")

    def mark(self) -> None:
        for server in self._one():
            value = str(self.dice.randrange(10**6))
            body = {"metadata": {"mark": value}}
            self.ask("mark", server["name"], "POST", f"{SERVERS}/{server['id']}/metadata", body, value=value)

    def move(self) -> None:
        for server in self._one():
            body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
            self.ask("move", server["name"], "POST", f"{SERVERS}/{server['id']}/action", body, api=self.campaign.admin)

    def port(self) -> None:
        ports = self.api.get(f"/network/v2.0/ports?network_id={self.campaign.network}")["ports"]
        mine = [one for one in ports if one["name"].startswith(self.letter)]
        if mine:
            self.ask("unplug", mine[0]["name"], "DELETE", f"/network/v2.0/ports/{mine[0]['id']}")
        else:
            name = self.fresh_name()
            self.ask("plug", name, "POST", "/network/v2.0/ports", {"port": {"network_id": self.campaign.network, "name": name}})

    def _one(self) -> list[dict[str, Any]]:
        found = [one for one in self.servers() if one["OS-EXT-STS:task_state"] != "deleting"]
        return [self.dice.choice(found)] if found else []


class Outcome(msgspec.Struct, frozen=True):
    """What a campaign came to."""

    seed: str
    kills: dict[str, int]
    requests: dict[str, int]

    def __str__(self) -> str:
        return f"seed {self.seed}: killed {self.kills}, requests {self.requests}"


class Campaign:
    """A cloud, its customers, and somebody who kills. `moves`: servers move between hosts, too."""

    def __init__(self, cloud: RealCloud, options: list[str], moves: bool = False) -> None:
        self.cloud = cloud
        self.options = [*options, "--no-demo"]
        self.ledger = Ledger()
        self.over = threading.Event()
        config = load(cloud.state)
        self.admin = Api(config, "admin", "admin") if moves else None
        self.image, self.flavor, self.network = self._furnish(Api(config, "admin", "admin"), Api(config))

    def run(self, seed: str, kills: int, victims: dict[str, Kill], customers: str = "abc") -> Outcome:
        """Kill so often, or for PILEUS_MINUTES, then compare; the failure names the seed."""
        dice = random.Random(seed)
        done: Counter[str] = Counter()
        work = [Customer(self, letter, seed) for letter in customers]
        try:
            for one in work:
                one.thread.start()
            deadline = time.monotonic() + 60 + 20 * kills
            stop = time.monotonic() + 60 * float(os.environ.get("PILEUS_MINUTES", "inf"))
            while done.total() < kills and time.monotonic() < stop and not any(one.problem for one in work):
                assert time.monotonic() < deadline, f"too little to kill: {done}"
                self.over.wait(dice.uniform(0.1, 1.5))
                kind = dice.choice(sorted(victims))
                if victims[kind](dice):
                    done[kind] += 1
                    self.cloud.up(*self.options)  # starting again is the recovery
        finally:
            self.over.set()
            for one in work:
                one.thread.join(60)
        problems = [one.problem for one in work if one.problem]
        assert not problems, f"seed {seed}: {problems}\n{self.cloud.log()}"
        self._compare(seed)
        return Outcome(seed=seed, kills=dict(done), requests=dict(self.ledger.counts))

    def _furnish(self, admin: Api, demo: Api) -> tuple[str, str, str]:
        flavor = {"name": "campaign", "ram": 16, "vcpus": 1, "disk": 0}
        flavor_id = admin.post("/compute/v2.1/flavors", {"flavor": flavor})["flavor"]["id"]
        image = {"name": "campaign", "disk_format": "raw", "container_format": "bare"}
        image_id = demo.post("/image/v2/images", image)["id"]
        file = self.cloud.state.parent / "campaign.raw"
        file.write_bytes(OBEDIENT.ljust(SIZE, b"\0"))
        demo.upload(f"/image/v2/images/{image_id}/file", file, lambda part: None)
        network = demo.post("/network/v2.0/networks", {"network": {"name": "campaign"}})["network"]["id"]
        subnet = {"network_id": network, "cidr": "10.9.0.0/24", "ip_version": 4}
        demo.post("/network/v2.0/subnets", {"subnet": subnet})
        return str(image_id), str(flavor_id), str(network)

    def _compare(self, seed: str) -> None:
        api = Api(load(self.cloud.state))
        servers = self._settled(api)
        by_name = {one["name"]: one for one in servers}
        assert len(by_name) == len(servers), f"seed {seed}: a server is there twice"
        ports = {one["name"] for one in api.get("/network/v2.0/ports")["ports"] if one["name"]}
        for name, may in self.ledger.all().items():
            assert (name in by_name or name in ports) in may.there, f"seed {seed}: {name} should be there: {may.there}"
            if server := by_name.get(name):
                statuses = may.statuses | ({"SHUTOFF"} if server["id"] in self.ledger.wounded else set())
                assert server["status"] in statuses, (
                    f"seed {seed}: {name} is {server['status']}, should be of {statuses}: {self._fault(server)}"
                )
                assert server["metadata"].get("mark") in may.marks, f"seed {seed}: {name}: {server['metadata']}, should be of {may.marks}"
        done = self.cloud.pileus("verify", check=False)
        assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"

    def _fault(self, server: dict[str, Any]) -> Any:
        """What an administrator is told, in detail."""
        shown = Api(load(self.cloud.state), "admin", "admin").get(f"{SERVERS}/{server['id']}")["server"]
        return shown.get("fault", shown)

    def _settled(self, api: Api) -> list[dict[str, Any]]:
        """The servers, once nothing is being done about any of them."""

        deadline = time.monotonic() + SETTLES_WITHIN
        while True:
            found: list[dict[str, Any]] = api.get(f"{SERVERS}/detail")["servers"]
            busy = [f"{one['name']} {one['status']} {one['OS-EXT-STS:task_state']}" for one in found if one["OS-EXT-STS:task_state"]]
            if self.admin:
                moving = self.admin.get("/compute/v2.1/os-migrations?status=running")["migrations"]
                busy += [f"{one['instance_uuid']} {one['migration_type']} {one['status']}" for one in moving]
            if not busy:
                return found
            assert time.monotonic() < deadline, f"not at rest within {SETTLES_WITHIN:g} s: {busy}\n{self.cloud.log()}"
            time.sleep(0.1)


def kill(pid: int | None) -> str | None:
    """SIGKILL, and wait until it is gone."""
    if pid is None:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists() or _is_dead(pid), 10, f"the end of {pid}")
    return str(pid)


def guests(state: Path) -> dict[int, str]:
    """QEMU's processes of this cloud, with their servers."""
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes().decode(errors="replace")
            if line.startswith("qemu-system") and Path(os.readlink(process / "cwd")).is_relative_to(state):
                found[int(process.name)] = line.partition("guest=")[2][:36]
    return found


def _is_dead(pid: int) -> bool:
    """Nobody has asked yet how it ended."""
    with contextlib.suppress(OSError):
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    return True
