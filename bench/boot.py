"""Measures a server's way to QEMU, to its guest's readiness and to ssh, beside QEMU started by hand with the same arguments.

    sudo ./pileus bench boot [--json] [--times 5] [--servers 3,10] [--write]

A cloud of its own is started in a temporary directory, and destroyed afterwards, also when it is interrupted. `ours` is what pileus adds:
POST to QEMU running, less what QEMU itself takes from its start until QMP answers, in the same run. `--servers N` asks for N servers in
one request besides: seconds until QEMU runs for each of them, and until each guest is ready; by hand, so many QEMUs are started at once.
A guest needs some 180 MiB, and 2 s of a CPU where it is emulated: more than fit into the free memory are refused before anything starts.
"""

import argparse
import contextlib
import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from bench import boot_report
from pileus.cli.client import Api
from pileus.cli.demo import Demo
from pileus.cli.settings import load
from pileus.node.census import hypervisor_processes

SETTLE = 1.0  # seconds: the hosts have been told of the port and the floating address; their work is not the server's
GUEST_MIB = 200
READY = b"pileus-guest: ready"
FIRST, LONGEST = 120.0, 15.0  # seconds that guests may take to be ready: for one, and for each more


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def pileus(state: Path, *arguments: str) -> None:
    """Run a command of ours, to its end: an interruption of the benchmark does not reach it half-way."""
    command = [sys.executable, "-m", "pileus.cli.main", "--state", str(state), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        status = process.wait()
    except BaseException:
        process.terminate()  # `up` takes back what it has begun
        process.wait(60)
        raise
    if status:
        raise SystemExit(f"pileus {' '.join(arguments)}: status {status}")


@contextlib.contextmanager
def cloud() -> Iterator[Path]:
    """A cloud's state directory; whatever ends the benchmark, nothing of the cloud is left."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, end)
    folder = Path(tempfile.mkdtemp(prefix="pileus-boot-"))
    folder.chmod(0o755)
    state = folder / "state"
    try:
        pileus(state, "up", "--detach", "--listen", f"127.0.0.1:{free_port()}")
        yield state
    finally:
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        if (state / "config.json").exists():
            pileus(state, "down", "--destroy", "--yes")
        shutil.rmtree(folder, ignore_errors=True)


class ByHand:
    """A QEMU of our own, as one would start it."""

    def __init__(self, argv: list[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pileus-boot-hand-")
        folder = Path(self._folder.name)
        disk = folder / "blank.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "1G"], check=True)
        drive = ["-drive", f"file={disk},if=virtio", "-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]
        self._socket = folder / "qmp"
        qmp = ["-qmp", f"unix:{self._socket},server=on,wait=off"]
        self.began = time.monotonic()
        self._process = subprocess.Popen([*argv, *drive, *qmp, "-display", "none"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def running(self) -> float:
        """Seconds from its start until QMP says that the guest runs."""
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(self._socket))
                    answer = client.makefile("rw")
                    answer.readline()
                    for word in ("qmp_capabilities", "cont", "query-status"):
                        answer.write(json.dumps({"execute": word}) + "\n")
                        answer.flush()
                        line = answer.readline()
                        while '"event"' in line:
                            line = answer.readline()
                    return time.monotonic() - self.began
            except OSError:
                if self._process.poll() is not None:
                    assert self._process.stderr is not None
                    raise SystemExit(f"QEMU by hand did not start: {self._process.stderr.read().decode()[-500:]}") from None
                time.sleep(0.001)

    def end(self) -> None:
        """End it, and remove what it had."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def by_hand(argv: list[str], count: int = 1) -> float:
    """Seconds from the start of the first of so many QEMUs until the guests of all of them run; then they are ended."""
    with contextlib.ExitStack() as stack:
        all_of_them: list[ByHand] = []
        for _ in range(count):
            one = ByHand(argv)
            stack.callback(one.end)
            all_of_them.append(one)
        for one in all_of_them:
            one.running()
        return time.monotonic() - all_of_them[0].began


def same_arguments(pid: int) -> list[str]:
    """A running guest's arguments, without what belongs to that guest alone: its descriptors, disks and sockets."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    kept: list[str] = []
    pairs = iter(words[1:])
    for word in pairs:
        if word in ("-chardev", "-mon", "-serial", "-netdev", "-vnc", "-blockdev", "-sandbox", "-incoming"):
            next(pairs)
            continue
        if word == "-device":
            value = next(pairs)
            if value.startswith(("virtio-net", "virtio-blk")):
                continue
            kept += [word, value]
            continue
        kept.append(word)
    return [words[0], *kept]


class Bench:
    """Servers of one cloud."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.demo = Demo(load(state))
        self.api = self.demo.demo
        self.argv: list[str] = []
        self.image = self.named("image/v2/images", "pileus-guest")
        self.network = self.named("network/v2.0/networks", "private")

    def named(self, path: str, name: str) -> str:
        """The id of what has a name."""
        return str(self.api.get(f"/{path}?name={name}")[path.rpartition("/")[2].replace("-", "_")][0]["id"])

    def one(self, name: str) -> dict[str, float]:
        """Seconds from POST to QEMU running, to the guest's readiness, to ssh."""
        groups = [self.named("network/v2.0/security-groups", "ssh")]
        port = self.api.post("/network/v2.0/ports", {"port": {"network_id": self.network, "security_groups": groups}})["port"]
        wanted = {"floating_network_id": self.named("network/v2.0/networks", "public"), "port_id": port["id"]}
        floating = self.api.post("/network/v2.0/floatingips", {"floatingip": wanted})["floatingip"]
        body = {"name": name, "imageRef": self.image, "flavorRef": "1", "key_name": "demo", "networks": [{"port": port["id"]}]}
        time.sleep(SETTLE)
        began = time.monotonic()
        server = self.api.post("/compute/v2.1/servers", {"server": body})["server"]
        found: dict[str, float] = {"POST answered": time.monotonic() - began}
        while (status := self.api.get(f"/compute/v2.1/servers/{server['id']}")["server"]["status"]) != "ACTIVE":
            if status == "ERROR":
                raise SystemExit(f"the server {name} could not be started")
            time.sleep(0.002)
        found["ACTIVE: QEMU runs"] = time.monotonic() - began
        self.wait(lambda: self.is_ready(server), FIRST, "the guest was not ready")
        found["guest ready"] = time.monotonic() - began

        class Quiet:
            def note(self, text: str) -> None: ...

        self.demo.wait_ssh(server["id"], floating["floating_ip_address"], Quiet())  # type: ignore[arg-type]
        found["ssh"] = time.monotonic() - began
        (pid,) = hypervisor_processes(self.state / "node" / "guests")[server["id"]]
        self.argv = same_arguments(pid)
        found["QEMU by hand"] = by_hand(self.argv)
        found["ours"] = found["ACTIVE: QEMU runs"] - found["QEMU by hand"]
        self.remove([server["id"]])
        return found

    def many(self, count: int) -> dict[str, float]:
        """Seconds from one POST until QEMU runs for all of so many servers, and until all guests are ready; the same number by hand."""
        project = self.api.get("/identity/v3/auth/projects")["projects"][0]["id"]
        admin = Api(load(self.state), "admin", "admin")
        admin.call("PUT", f"/compute/v2.1/os-quota-sets/{project}", {"quota_set": {"instances": -1, "cores": -1, "ram": -1}})
        make_room(admin)
        server = {"name": "many", "imageRef": self.image, "flavorRef": "1", "networks": [{"uuid": self.network}]}
        hand = by_hand(self.argv, count) if self.argv else 0.0
        began = time.monotonic()
        self.api.post("/compute/v2.1/servers", {"server": server | {"min_count": count, "max_count": count}})
        patience = FIRST + LONGEST * count

        def all_are(condition: Callable[[dict[str, Any]], bool]) -> bool:
            some = self.api.get("/compute/v2.1/servers/detail?name=many&limit=1000")["servers"]
            if failed := next((one for one in some if one["status"] == "ERROR"), None):
                raise SystemExit(f"a server could not be started: {failed['fault']['message']}")
            return len(some) == count and all(map(condition, some))

        self.wait(lambda: all_are(lambda one: one["status"] == "ACTIVE"), patience, "not all servers were ACTIVE")
        found = {"ACTIVE": time.monotonic() - began}
        self.wait(lambda: all_are(self.is_ready), patience, "not all guests were ready")
        found |= {"ready": time.monotonic() - began, "by hand": hand, "MiB of a guest": self.memory()}
        self.remove([one["id"] for one in self.api.get("/compute/v2.1/servers?name=many&limit=1000")["servers"]])
        return found

    def memory(self) -> float:
        """MiB of each QEMU (PSS)."""
        pids = [pid for found in hypervisor_processes(self.state / "node" / "guests").values() for pid in found]
        lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
        return sum(int(line.split()[1]) for line in lines) / 1024 / max(1, len(pids))

    def is_ready(self, server: dict[str, Any]) -> bool:
        """Whether the guest has said so on its console."""
        return READY in (self.state / "node" / "guests" / server["id"] / "console.log").read_bytes()

    def remove(self, ids: list[str]) -> None:
        """Delete servers, and wait until they are gone."""
        for one in ids:
            self.api.call("DELETE", f"/compute/v2.1/servers/{one}")

        def left() -> set[str]:
            return {one["id"] for one in self.api.get("/compute/v2.1/servers?limit=1000")["servers"]} & set(ids)

        self.wait(lambda: not left(), FIRST, "deleted servers did not go")

    def wait(self, condition: Callable[[], bool], patience: float, complaint: str) -> None:
        """Until it holds."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"{complaint} within {patience:g} s")
            time.sleep(0.02)


def make_room(admin: Api) -> None:
    """Let placement put as many guests on this host as its memory really takes: four a core are the default."""
    for provider in admin.get("/placement/resource_providers")["resource_providers"]:
        path = f"/placement/resource_providers/{provider['uuid']}/inventories"
        found = admin.get(path)
        for name, ratio in (("VCPU", 100.0), ("MEMORY_MB", 3.0), ("DISK_GB", 10.0)):
            found["inventories"][name]["allocation_ratio"] = ratio
        admin.call(
            "PUT", path, {"resource_provider_generation": found["resource_provider_generation"], "inventories": found["inventories"]}
        )


def refuse_too_many(counts: list[int]) -> None:
    """So many guests as don't fit would be killed by the kernel, or others on this machine would."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
    room = int(line.split()[1]) // 1024
    if counts and max(counts) * GUEST_MIB > room * 0.9:
        raise SystemExit(
            f"{max(counts)} guests need {max(counts) * GUEST_MIB} MiB, and {room} are free: at most {int(room * 0.9) // GUEST_MIB}."
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--servers", default="", help="so many at once, such as 3,10")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/boot.md")
    options = parser.parse_args()
    counts = [int(one) for one in options.servers.split(",") if int(one)] if options.servers else []
    refuse_too_many(counts)
    with cloud() as state:
        bench = Bench(state)
        rounds = [bench.one(f"bench{number}") for number in range(max(1, options.times))]
        together = {count: bench.many(count) for count in counts}
    median = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    if options.json:
        print(json.dumps({"one": median, "rounds": rounds, "together": together}, indent=2))
    else:
        print(boot_report.text(median, together))
    if options.write:
        command = "sudo ./pileus bench boot " + " ".join(sys.argv[1:])
        boot_report.write(median, len(rounds), together, command)


if __name__ == "__main__":
    main()
