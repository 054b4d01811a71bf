"""Measures a server's way to QEMU, to its guest's readiness and to ssh, beside QEMU started by hand with the same arguments.

    sudo ./pileus bench boot [--json] [--times 5] [--servers 10]

A cloud of its own is started in a temporary directory, and destroyed afterwards. `ours` is what pileus adds: POST to QEMU running, less
what QEMU itself takes from its start until QMP answers, in the same run. `--servers N` asks for N servers in one request besides: seconds
until QEMU runs for each of them, and until each guest is ready. A guest needs some 180 MiB, and 2 s of a CPU where it is emulated.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pileus.cli.client import Api
from pileus.cli.demo import Demo
from pileus.cli.settings import load
from pileus.node.census import hypervisor_processes

SETTLE = 1.0  # seconds: the hosts have been told of the port and the floating address; their work is not the server's


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def pileus(state: Path, *arguments: str) -> None:
    """Run a command of ours."""
    subprocess.run([sys.executable, "-m", "pileus.cli.main", "--state", str(state), *arguments], check=True, stdout=subprocess.DEVNULL)


def by_hand(argv: list[str]) -> float:
    """Seconds from starting QEMU until QMP says that the guest runs; then it is ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/qmp"
        began = time.monotonic()
        process = subprocess.Popen([*argv, "-qmp", f"unix:{path},server=on,wait=off"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    with socket.socket(socket.AF_UNIX) as client:
                        client.connect(path)
                        answer = client.makefile("rw")
                        answer.readline()
                        for word in ("qmp_capabilities", "cont", "query-status"):
                            answer.write(json.dumps({"execute": word}) + "\n")
                            answer.flush()
                            line = answer.readline()
                            while '"event"' in line:
                                line = answer.readline()
                        return time.monotonic() - began
                except OSError:
                    time.sleep(0.001)
        finally:
            process.kill()
            process.wait()


def same_arguments(pid: int, folder: Path) -> list[str]:
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
    disk = folder / "blank.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "1G"], check=True)
    drive = ["-drive", f"file={disk},if=virtio", "-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]
    return [words[0], *kept, *drive, "-display", "none"]


def one_server(demo: Demo, state: Path, name: str) -> dict[str, float]:
    """Seconds from POST to QEMU running, to the guest's readiness, to ssh."""
    image = demo.demo.get("/image/v2/images?name=pileus-guest")["images"][0]["id"]
    network = demo.demo.get("/network/v2.0/networks?name=private")["networks"][0]["id"]
    port = demo.demo.post("/network/v2.0/ports", {"port": {"network_id": network, "security_groups": [group(demo)]}})["port"]
    body = {"name": name, "imageRef": image, "flavorRef": "1", "key_name": "demo", "networks": [{"port": port["id"]}]}
    public = demo.demo.get("/network/v2.0/networks?name=public")["networks"][0]["id"]
    floating = demo.demo.post("/network/v2.0/floatingips", {"floatingip": {"floating_network_id": public, "port_id": port["id"]}})[
        "floatingip"
    ]
    time.sleep(SETTLE)
    began = time.monotonic()
    server = demo.demo.post("/compute/v2.1/servers", {"server": body})["server"]
    found: dict[str, float] = {"POST answered": time.monotonic() - began}
    while demo.demo.get(f"/compute/v2.1/servers/{server['id']}")["server"]["status"] != "ACTIVE":
        time.sleep(0.002)
    found["ACTIVE: QEMU runs"] = time.monotonic() - began
    log = state / "node" / "guests" / server["id"] / "console.log"
    while b"pileus-guest: ready" not in log.read_bytes():
        time.sleep(0.01)
    found["guest ready"] = time.monotonic() - began

    class Quiet:
        def note(self, text: str) -> None: ...

    demo.wait_ssh(server["id"], floating["floating_ip_address"], Quiet())  # type: ignore[arg-type]
    found["ssh"] = time.monotonic() - began
    folder = Path(tempfile.mkdtemp())
    (pid,) = hypervisor_processes(state / "node" / "guests")[server["id"]]
    found["QEMU by hand"] = by_hand(same_arguments(pid, folder))
    shutil.rmtree(folder)
    found["ours"] = found["ACTIVE: QEMU runs"] - found["QEMU by hand"]
    demo.demo.call("DELETE", f"/compute/v2.1/servers/{server['id']}")
    return found


def many_servers(demo: Demo, state: Path, count: int) -> dict[str, float]:
    """Seconds from one POST until QEMU runs for all of so many servers, and until all guests are ready."""
    image = demo.demo.get("/image/v2/images?name=pileus-guest")["images"][0]["id"]
    network = demo.demo.get("/network/v2.0/networks?name=private")["networks"][0]["id"]
    project = demo.demo.get("/identity/v3/auth/projects")["projects"][0]["id"]
    admin = Api(load(state), "admin", "admin")
    admin.call("PUT", f"/compute/v2.1/os-quota-sets/{project}", {"quota_set": {"instances": -1, "cores": -1, "ram": -1}})
    body = {"name": "many", "imageRef": image, "flavorRef": "1", "networks": [{"uuid": network}], "min_count": count, "max_count": count}
    began = time.monotonic()
    demo.demo.post("/compute/v2.1/servers", {"server": body})

    def reached(condition: Callable[[dict[str, Any]], bool]) -> float:
        while True:
            some = demo.demo.get("/compute/v2.1/servers/detail?name=many&limit=1000")["servers"]
            if failed := next((one for one in some if one["status"] == "ERROR"), None):
                raise SystemExit(f"a server could not be started: {failed['fault']['message']}")
            if len(some) == count and all(map(condition, some)):
                return time.monotonic() - began
            time.sleep(0.05)

    def ready(server: dict[str, Any]) -> bool:
        return b"pileus-guest: ready" in (state / "node" / "guests" / server["id"] / "console.log").read_bytes()

    found = {f"{count} at once: ACTIVE": reached(lambda server: server["status"] == "ACTIVE"), f"{count} at once: ready": reached(ready)}
    for one in demo.demo.get("/compute/v2.1/servers?name=many&limit=1000")["servers"]:
        demo.demo.call("DELETE", f"/compute/v2.1/servers/{one['id']}")
    return found


def group(demo: Demo) -> str:
    """The id of the security group that lets ssh in."""
    return str(demo.demo.get("/network/v2.0/security-groups?name=ssh")["security_groups"][0]["id"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--servers", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pileus-boot-"))
    folder.chmod(0o755)
    state = folder / "state"
    try:
        pileus(state, "up", "--detach", "--listen", f"127.0.0.1:{free_port()}")
        demo = Demo(load(state))
        rounds: list[dict[str, Any]] = [one_server(demo, state, f"bench{number}") for number in range(options.times)]
        together = many_servers(demo, state, options.servers) if options.servers else {}
    finally:
        pileus(state, "down", "--destroy", "--yes")
        shutil.rmtree(folder)
    median = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]} | together
    if options.json:
        print(json.dumps(median, indent=2))
        return
    for name, seconds in median.items():
        print(f"{name:<20} {seconds * 1000:>9.0f} ms")


if __name__ == "__main__":
    main()
