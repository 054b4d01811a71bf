"""Three hosts by one command: servers that move while somebody is connected, processes that are killed, a host that is lost."""

import functools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.cli.client import Api
from pileus.cli.down import stop
from pileus.cli.local_cluster import LocalCluster
from pileus.cli.settings import load
from tests.real.conftest import devices
from tests.real.real_cloud import RealCloud, boots, gone, ready, until

HOSTS = 3
HOST = "OS-EXT-SRV-ATTR:host"
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


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and guests' user ids")
    for tool in ("qemu-system-x86_64", "nft", "dnsmasq", "nats-server"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            pytest.skip(f"needs {tool}; `sudo ./pileus up --hosts 3` installs it")
    folder = Path(tempfile.mkdtemp(prefix="pileus-cluster-"))  # not below pytest's own, which another pytest closes to other users
    folder.chmod(0o755)  # guests, and PostgreSQL, run as users of their own
    real = Cluster(folder / "state")
    try:
        real.up("--hosts", str(HOSTS))
        tag = load(real.state).tag
        yield real
    finally:
        real.pileus("down", "--destroy", "--yes")
        shutil.rmtree(folder, ignore_errors=True)
    assert devices(tag) == set(), "the destroyed cluster left something behind"
    assert not real.state.exists()


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


def test_three_hosts_are_there_with_a_first_server_that_answers(cluster: Cluster) -> None:
    services = {one.host: one.state for one in cluster.admin().compute.services(binary="nova-compute")}
    assert services == {"h1": "up", "h2": "up", "h3": "up"}
    assert cluster.ssh(cluster.address(), "hostname") == "hello"
    assert "tls://" in cluster.pileus("up", "--hosts", str(HOSTS), "--detach").stderr  # again: it says what it found
    cluster.verify()


def test_a_server_moves_ten_times_while_somebody_is_connected_through_its_floating_ip(cluster: Cluster) -> None:
    server = cluster.hello()
    connection = Connection(cluster)
    try:
        visited = [cluster.host()]
        for _ in range(10):
            assert cluster.live_migrate() == "completed"
            visited.append(cluster.host())
            assert visited[-1] != visited[-2]
            assert len(cluster.processes(server.id)) == 1
            connection.goes_on()
    finally:
        connection.close()
    shown = cluster.pileus("migration", "watch", server.id).stdout
    assert "completed" in shown
    cluster.verify()


def test_a_stopped_server_moves_with_its_disk_and_waits_for_a_word(cluster: Cluster) -> None:
    server, before = cluster.hello(), cluster.host()
    cluster.ssh(cluster.address(), "echo kept > /home/pileus/note; sync")
    compute = cluster.admin().compute
    compute.migrate_server(server)
    compute.wait_for_server(compute.get_server(server.id), status="VERIFY_RESIZE", wait=120)
    compute.confirm_server_resize(server)
    compute.wait_for_server(compute.get_server(server.id), status="ACTIVE", wait=60)
    assert cluster.host() != before
    assert cluster.ssh(cluster.address(), "cat /home/pileus/note", timeout=120) == "kept"
    cluster.verify()


PARTIES = ("managers", "source", "destination", "guest at the destination", "bus", "database")


def kill(cluster: Cluster, party: str, source: str, destination: str) -> None:
    """SIGKILL to a process that takes part in a move; fine when there is no such process at this moment."""
    fabric, server = cluster.fabric, cluster.server_id
    pids = {
        "managers": lambda: cluster.pid(),
        "source": lambda: int((fabric.directory(source) / "pid").read_text()),
        "destination": lambda: int((fabric.directory(destination) / "pid").read_text()),
        "guest at the destination": lambda: next(iter(set(cluster.processes(server)) & set(fabric.pids(destination))), None),
        "bus": fabric.nats.pid,
        "database": fabric.postgresql.pid,
    }
    pid = pids[party]()
    if pid is not None:
        os.kill(pid, signal.SIGQUIT if party == "database" else signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists(), 10, "its end")


def survives(cluster: Cluster, party: str, moment: Callable[[], None]) -> str:
    """Move hello, kill a party at a moment, start again what was killed; then one copy goes on where the records say. How it ended."""
    source = cluster.host()
    destination = next(name for name in ("h1", "h2", "h3") if name != source)
    connection = Connection(cluster)
    try:
        cluster.admin().compute.live_migrate_server(cluster.server_id, host=destination, block_migration="auto")
        moment()
        kill(cluster, party, source, destination)
        cluster.up("--hosts", str(HOSTS), "--no-demo")  # starting again is the recovery
        ended = cluster.moved(cluster.server_id)
        assert ended in ("completed", "error")
        if party == "guest at the destination" and ended == "completed":  # it was the only one already, and ran
            assert len(cluster.processes(cluster.server_id)) <= 1
            compute = cluster.admin().compute
            if compute.get_server(cluster.server_id).status == "SHUTOFF":
                compute.start_server(cluster.server_id)
                compute.wait_for_server(compute.get_server(cluster.server_id), status="ACTIVE", wait=60)
        else:
            until(lambda: len(cluster.processes(cluster.server_id)) == 1, 60, "one copy alone")
            connection.goes_on()
    finally:
        connection.close()
    assert cluster.hello().status == "ACTIVE"
    assert cluster.processes(cluster.server_id)[0] in cluster.fabric.pids(cluster.host()), "the record names another host than the guest's"
    cluster.verify()
    return ended


@pytest.mark.parametrize("party", PARTIES)
def test_whatever_process_is_killed_during_a_move_one_copy_of_the_guest_goes_on(cluster: Cluster, party: str) -> None:
    survives(
        cluster, party, lambda: until(lambda: len(cluster.processes(cluster.server_id)) == 2, 30, "a guest waiting at the destination")
    )


def test_processes_killed_at_random_moments_of_moves_leave_one_copy_of_the_guest(cluster: Cluster) -> None:
    seed = os.environ.get("PILEUS_SEED") or str(time.time_ns())
    print(f"PILEUS_SEED={seed}")  # pytest shows it when this fails
    chance = random.Random(seed)
    for _ in range(int(os.environ.get("PILEUS_KILLS", "4"))):
        party, seconds = chance.choice(PARTIES), chance.uniform(0.0, 1.5)
        ended = survives(cluster, party, lambda seconds=seconds: time.sleep(seconds))  # type: ignore[misc]
        print(f"{party} killed after {seconds:.2f} s: {ended}")


def test_a_guest_that_dies_while_it_moves_is_off_where_its_disk_is_and_starts_again(cluster: Cluster) -> None:
    server, source = cluster.hello(), cluster.host()
    compute = cluster.admin().compute
    (pid,) = cluster.processes(server.id)
    compute.live_migrate_server(server, host=None, block_migration="auto")
    until(lambda: len(cluster.processes(server.id)) == 2, 30, "a guest waiting at the destination")
    os.kill(pid, signal.SIGKILL)
    ended = cluster.moved(server.id)
    until(lambda: len(cluster.processes(server.id)) == (1 if ended == "completed" else 0), 60, "nothing doubled")
    if ended != "completed":  # it had not been given away: it is where it was
        assert cluster.host() == source
        compute.wait_for_server(compute.get_server(server.id), status="SHUTOFF", wait=60)
        compute.start_server(server)
        compute.wait_for_server(compute.get_server(server.id), status="ACTIVE", wait=60)
    assert cluster.ssh(cluster.address(), "hostname", timeout=120) == "hello"
    cluster.verify()


def test_reads_and_writes_are_answered_while_the_bus_is_away_and_done_when_it_is_back(cluster: Cluster) -> None:
    pid = cluster.fabric.nats.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # it hangs, which is worse than being gone
    try:
        compute = cluster.connect().compute
        server = compute.find_server("hello")
        compute.set_server_metadata(server, written="meanwhile")
        compute.reboot_server(server, "HARD")
        assert compute.get_server(server.id).status == "HARD_REBOOT"
    finally:
        os.kill(pid, signal.SIGCONT)
    compute.wait_for_server(compute.get_server(server.id), status="ACTIVE", wait=120)
    assert compute.get_server(server.id).metadata["written"] == "meanwhile"
    assert cluster.ssh(cluster.address(), "hostname", timeout=120) == "hello"
    cluster.verify()


def test_the_server_of_a_lost_host_comes_back_elsewhere_and_the_host_cleans_up(cluster: Cluster) -> None:
    server, lost = cluster.hello(), cluster.host()
    cluster.ssh(cluster.address(), "echo survives > /home/pileus/note; sync")
    for pid in cluster.fabric.pids(lost):
        os.kill(pid, signal.SIGKILL)
    until(lambda: cluster.host() != lost, 90, "another host")
    compute = cluster.admin().compute
    compute.wait_for_server(compute.get_server(server.id), status="ACTIVE", wait=60)
    assert cluster.ssh(cluster.address(), "cat /home/pileus/note", timeout=120) == "survives"
    assert len(cluster.processes(server.id)) == 1
    cluster.up("--hosts", str(HOSTS), "--no-demo")
    left = cluster.fabric.directory(lost) / "node" / "guests" / server.id
    until(lambda: not left.exists(), 60, "the lost host having cleaned up")
    assert len(cluster.processes(server.id)) == 1
    assert cluster.ssh(cluster.address(), "hostname") == "hello"
    cluster.verify()


def test_a_host_is_emptied_for_maintenance_and_taken_back(cluster: Cluster) -> None:
    host = cluster.host()
    connection = Connection(cluster)
    try:
        planned = cluster.pileus("host", "drain", host, "--plan").stdout
        assert "hello" in planned and "live migration" in planned
        assert cluster.host() == host
        assert f"{host} is empty" in cluster.pileus("host", "drain", host, "--yes").stdout
        assert cluster.host() != host
        connection.goes_on()
    finally:
        connection.close()
    compute = cluster.admin().compute
    cluster.ssh(cluster.address(), "sudo sh -c 'echo asleep > /run/note'")
    compute.suspend_server(cluster.server_id)
    compute.wait_for_server(compute.get_server(cluster.server_id), status="SUSPENDED", wait=60)
    cluster.pileus("host", "enable", host)
    cluster.pileus("host", "drain", cluster.host(), "--yes")
    compute.resume_server(cluster.server_id)
    compute.wait_for_server(compute.get_server(cluster.server_id), status="ACTIVE", wait=60)
    assert cluster.ssh(cluster.address(), "cat /run/note", timeout=60) == "asleep"  # its memory came along
    for one in cluster.admin().compute.services(binary="nova-compute"):
        cluster.pileus("host", "enable", one.host)
    refused = cluster.pileus("host", "remove", cluster.host(), check=False)
    assert refused.returncode == 1 and "Empty it first" in refused.stderr
    assert {one.status for one in cluster.admin().compute.services(binary="nova-compute")} == {"enabled"}


def test_a_server_that_has_moved_does_all_that_others_do(cluster: Cluster) -> None:
    connection, compute = cluster.connect(), cluster.connect().compute
    network = connection.network.find_network("private").id
    server = boots(connection, "wanderer", network)
    ready(connection, server)
    cluster.admin().compute.live_migrate_server(server, host=None, block_migration="auto")
    assert cluster.moved(server.id) == "completed"

    def now(status: str, wait: int = 120) -> Any:
        return compute.wait_for_server(compute.get_server(server.id), status=status, wait=wait)

    compute.pause_server(server)
    now("PAUSED")
    cluster.admin().compute.live_migrate_server(server, host=None, block_migration="auto")
    assert cluster.moved(server.id) == "completed"
    now("PAUSED")
    compute.unpause_server(server)
    now("ACTIVE")
    image = compute.create_server_image(server, "wanderer-copy", wait=True, timeout=180)
    assert connection.image.get_image(image.id).status == "active"
    compute.reboot_server(server, "HARD")
    now("ACTIVE")
    ready(connection, server)
    compute.stop_server(server)
    now("SHUTOFF")
    compute.start_server(server)
    now("ACTIVE")
    compute.resize_server(server, compute.find_flavor("m1.tiny").id)
    now("VERIFY_RESIZE", 180)
    compute.revert_server_resize(server)
    now("ACTIVE")
    compute.rebuild_server(server, image=image.id)
    until(lambda: compute.get_server(server.id).status == "ACTIVE", 120, "the rebuild")
    cluster.verify()
    gone(connection, server)
    connection.image.delete_image(image)
    cluster.verify()


def test_a_token_lets_one_host_in_and_a_wrong_one_nobody(cluster: Cluster, tmp_path: Path) -> None:
    fabric = cluster.fabric
    address = f"http://{load(cluster.state).host_listen}"

    def joins(token: str, name: str, clock: float = 0.0, version: str = "") -> subprocess.CompletedProcess[str]:
        program = (
            "import sys, time, pathlib; import pileus; from pileus.cli import node_process\n"
            f"now = time.time\ntime.time = lambda: now() + {clock}\n"
            + (f"pileus.__version__ = {version!r}\n" if version else "")
            + f"print(node_process.join(pathlib.Path(sys.argv[1]), sys.argv[2], {address!r}).cluster)"
        )
        inside = ["nsenter", f"--net=/run/netns/{fabric.namespace('h1')}", sys.executable]
        command = [*inside, "-c", program, str(tmp_path / name), token]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PILEUS_HOST": name})

    def made() -> str:
        return str(json.loads(cluster.pileus("host", "token", "--json").stdout)["token"])

    assert "unknown" in joins("nonsense", "h9").stderr
    assert "clock of h9 is 600 s ahead" in joins(made(), "h9", clock=600).stderr
    assert "Install the same version" in joins(made(), "h9", version="0.0.1").stderr
    assert "is in this cloud and up" in joins(made(), "h1").stderr
    token = made()
    assert joins(token, "h9").stdout.strip() == "default"
    assert "used by another host" in joins(token, "h8").stderr


def test_a_second_cluster_has_its_own_manager_and_hosts(cluster: Cluster, tmp_path: Path) -> None:
    config, fabric = load(cluster.state), cluster.fabric
    assert config.database is not None and config.bus is not None
    command = [sys.executable, "-m", "pileus.cli.main", "--state", str(tmp_path / "east"), "serve", "--role", "cluster", "--name", "east"]
    command += ["--database", config.database, "--bus", config.bus]
    connection = cluster.admin()
    network = cluster.connect().network.find_network("private").id

    def listed() -> str:
        return cluster.pileus("host", "list").stdout

    def manager() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until(lambda: any("cluster/east: led by" in line and "for" in line for line in listed().splitlines()), 30, "a leader")
        return process

    process = manager()
    try:
        fabric.connect(4, "h4")
        fabric.start("h4", Api(config, "admin", "admin"), "east")
        until(lambda: "h4" in {one.host for one in connection.compute.services(binary="nova-compute")}, 30, "h4")
        server = boots(connection, "eastern", network, availability_zone="nova:h4")
        assert server.status == "ACTIVE"
        process.kill()
        process.wait()
        connection.compute.pause_server(server)
        process = manager()  # the other cluster's manager did not do its work; now it is done
        paused = connection.compute.wait_for_server(connection.compute.get_server(server.id), status="PAUSED", wait=60)
        assert paused.compute_host == "h4"
        cluster.verify()
        gone(connection, server)
    finally:
        process.terminate()
        process.wait()
        stop(fabric.directory("h4"))
        fabric.remove("h4")


def test_nothing_of_the_cluster_listens_where_it_was_not_asked_to(cluster: Cluster) -> None:
    for port in (4222, 5432):
        with socket.socket() as one:
            one.settimeout(2)
            assert one.connect_ex(("127.0.0.1", port)) != 0
