"""A real cloud as two processes: what the one that parses requests is and can't do, and that neither goes on without the other."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pileus.cli import separation
from pileus.cli.separation.child import pid_of_other
from pileus.cli.separation.node_part import CAPABILITIES
from pileus.cli.separation.ownership import as_its_user, hand_over, take_back, user_of
from pileus.cli.settings import load
from pileus.config import Config
from pileus.model.image_stores import ImageSettings, ImageStore

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a process that gives it up")]

ATTEMPTS = """
import json, os, socket, sqlite3, subprocess, sys, threading
from pathlib import Path
import msgspec
from pileus.cli.separation.kernel import libc, mount
from pileus.cli.separation.sandbox import Enclosure, enclose

order = json.loads(sys.argv[1])
confined = enclose(Enclosure(state=order["state"], user=order["user"], mount_on=order["state"] + "/sandbox", private={"key": b"secret"},
                             stores=order["stores"]))
said = {"missing": confined.missing, "error": confined.error}

def attempt(name, work):
    try:
        said[name] = str(work())
    except BaseException as error:
        said[name] = "refused: " + type(error).__name__

state = Path(order["state"])
for name, path in order["read"].items():
    attempt("read " + name, lambda: Path(path).read_bytes())
    attempt("list " + name, lambda: os.listdir(path))
for name, path in order["write"].items():
    attempt("write " + name, lambda: Path(path, "made").write_text("x"))
attempt("remove settings", (state / "config.json").unlink)
attempt("move node", lambda: (state / "node").rename(state / "other"))
attempt("move images", lambda: (state / "images").rename(state / "other"))
attempt("second name", lambda: os.link(state / "clouds.yaml", state / "images" / "x"))
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("program", lambda: subprocess.run(["/bin/true"]))
attempt("fork", os.fork)
attempt("root", lambda: os.setuid(0))
attempt("mount", lambda: mount("tmpfs", "/tmp", "tmpfs"))
attempt("unshare", lambda: libc.unshare(0x10000000))
attempt("ptrace", lambda: libc.ptrace(16, order["other"], 0, 0))
attempt("keyctl", lambda: libc.syscall(250, 0, -3, 0))
attempt("bpf", lambda: libc.syscall(321, 0, 0, 0))
attempt("userfaultfd", lambda: libc.syscall(323, 0))
attempt("io_uring", lambda: libc.syscall(425, 1, 0))
attempt("kill", lambda: os.kill(order["other"], 9))
attempt("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("processes", lambda: [one for one in os.listdir("/proc") if one.isdigit()])

def works():
    threading.Thread(target=lambda: None).start()
    socket.create_connection(("127.0.0.1", order["port"])).close()
    socket.getaddrinfo("localhost", 80)
    database = sqlite3.connect(state / "pileus.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE t (x)")
    database.commit()
    Path("/tmp/x").write_text("x")
    for store in map(Path, order["stores"]):
        (store / ".uploads").mkdir()
        (store / ".uploads" / "a").write_text("x")
        (store / ".uploads" / "a").rename(store / "a")
        assert (store / "there").read_text() == "an image"
    assert Path("/run/pileus/key").read_bytes() == b"secret"
    import decimal, wave
    return "yes"

attempt("what it needs", works)
said["status"] = Path("/proc/self/status").read_text() if Path("/proc/self/status").exists() else ""
print(json.dumps(said), flush=True)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that all may pass through to."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/tmp") and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(0o711)
    made = tmp_path / "state"
    made.mkdir(mode=0o711)
    return made


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def attempts(state: Path, port: int, other: int) -> dict[str, Any]:
    stores = {"inside": state / "more" / "images", "mounted": state.parent / "disk"}
    for folder in stores.values():
        folder.mkdir(parents=True)
        (folder / "there").write_text("an image")
    config = Config(state=str(state), image=ImageSettings(stores={name: ImageStore(path=str(path)) for name, path in stores.items()}))
    (state / "node" / "guests").mkdir(parents=True)
    (state / "node" / "guests" / "disk").write_text("a guest's")
    (state / "clouds.yaml").write_text("passwords")
    (state / "clouds.yaml").chmod(0o600)
    (state / "config.json").write_text("{}")
    hand_over(config)
    (state.parent / "beside").write_text("another's")
    order = {
        "state": str(state), "user": user_of(config), "other": other, "port": port, "stores": [str(one) for one in stores.values()],
        "read": {
            "roots": "/root", "homes": "/home", "node": str(state / "node"), "guest": str(state / "node" / "guests" / "disk"),
            "passwords": str(state / "clouds.yaml"), "beside": str(state.parent / "beside"), "above": str(state.parent), "srv": "/srv",
            "shadow": "/etc/shadow", "other": f"/proc/{other}/environ", "tests": str(Path(__file__).parent),
        },
        "write": {
            "etc": "/etc", "usr": "/usr", "root": "/", "program": str(Path(separation.__file__).parent), "node": str(state / "node"),
            "above": str(state.parent), "proc": "/proc/sys/kernel", "sandbox": str(state / "sandbox"),
        },
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, json.dumps(order)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def bystander() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    assert process.poll() is None, "another process was ended"
    process.kill()
    process.wait()


def test_an_enclosed_process_has_what_it_needs_and_nothing_else(state: Path, port: int, bystander: int) -> None:
    found = attempts(state, port, bystander)
    if found["missing"]:
        pytest.skip(f"this machine does not allow it: {found['missing']}")
    assert found.pop("error") == ""
    assert found.pop("what it needs") == "yes"
    found.pop("status"), found.pop("missing")
    listed = found.pop("list above"), found.pop("list srv", "")
    assert listed[0] in ("['disk', 'state']", "['state', 'disk']"), (
        "of the directories above, only the way to the cloud and to its stores is there"
    )
    assert found.pop("list tests").startswith("refused")
    may = {name: answer for name, answer in found.items() if not answer.startswith("refused")}
    may.pop("list roots", None), may.pop("processes", None)  # directories on the way to the program; its own process where it sees any
    may.pop("list homes", None)
    assert may == {}
    assert (state / "config.json").exists()
    assert not (state / "images" / "x").exists()


# -- both processes ------------------------------------------------------------------------------------------------------------------


class Cloud:
    """A real cloud without a server: its two processes, run as `serve` runs them."""

    def __init__(self, state: Path) -> None:
        self.state = state
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(self.state), "serve", "--listen", self.listen]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.until(self.answers)

    def answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log()
        try:
            with urllib.request.urlopen(f"http://{self.listen}/identity/v3", timeout=2) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    @property
    def node(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def api(self) -> int:
        pid = pid_of_other(self.state)
        assert pid is not None
        return pid

    def log(self) -> str:
        file = self.state / "log" / "pileus.log"
        return file.read_text() if file.exists() else ""

    def until(self, condition: Any, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def run(self, *arguments: str, check: bool = True) -> str:
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(self.state), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout + done.stderr

    def stop(self) -> int:
        if self.process is None:
            return 0
        self.process.terminate()
        return self.process.wait(30)


@contextmanager
def running(state: Path) -> Iterator[Cloud]:
    cloud = Cloud(state)
    try:
        cloud.start()
        yield cloud
    finally:
        if cloud.process is not None and cloud.process.poll() is None:
            cloud.stop()
        cloud.run("down", "--destroy", "--yes", check=False)


def of_status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def ended(pid: int, seconds: float = 15) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def test_requests_are_parsed_without_privileges_and_the_node_keeps_those_that_it_needs(state: Path) -> None:
    with running(state) as cloud:
        api, node = of_status(cloud.api), of_status(cloud.node)
        user = str(user_of(load(state)))
        assert api["Uid"].split() == api["Gid"].split() == [user] * 4
        assert api["Groups"] == ""
        assert {int(api[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert (api["NoNewPrivs"], api["Seccomp"]) == ("1", "2")
        kept = sum(1 << number for number in CAPABILITIES.values())
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(node[name], 16) & ~kept == 0, name
        for task in Path(f"/proc/{cloud.node}/task").iterdir():
            assert f"CapEff:\t{int(node['CapEff'], 16):016x}" in (task / "status").read_text(), "every thread"
        assert "without" not in cloud.log(), "nothing of the enclosure is missing here"
        listening = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "0A"}
        mine = {os.readlink(one) for one in Path(f"/proc/{cloud.node}/fd").iterdir() if one.exists()}
        assert not {f"socket:[{inode}]" for inode in listening} & mine, "root listens to nobody"
        assert cloud.stop() == 0
        assert pid_of_other(state) is None


@pytest.mark.parametrize("killed", ["node", "api"])
def test_when_one_is_killed_the_other_ends_and_starting_again_is_the_recovery(state: Path, killed: str) -> None:
    with running(state) as cloud:
        api, node = cloud.api, cloud.node
        os.kill(node if killed == "node" else api, signal.SIGKILL)
        assert ended(api)
        assert cloud.process is not None
        assert cloud.process.wait(30) == (-signal.SIGKILL if killed == "node" else 1)
        cloud.start()
        assert cloud.api != api
        cloud.until(lambda: "up" in cloud.run("status"))
        cloud.run("verify")


def test_a_clouds_files_are_handed_over_once_and_commands_of_root_do_not_lock_it_out(state: Path) -> None:
    (state / "config.json").write_text('{"privilege_separation": false}')
    with running(state) as cloud:
        assert pid_of_other(state) is None
        before = (state / "secrets" / "passwords.json").read_text()
        assert (state / "pileus.db").stat().st_uid == 0
        cloud.stop()
        settings = json.loads((state / "config.json").read_text())
        (state / "config.json").write_text(json.dumps(settings | {"privilege_separation": True}))
        cloud.start()
        user = user_of(load(state))
        copy = Path(cloud.run("db", "backup").strip())
        assert copy.stat().st_uid == user
        for command in (("db", "check"), ("verify",), ("status",), ("db", "backup", str(state.parent / "copy.db"))):
            cloud.run(*command)
        cloud.stop()
        for command in (("db", "check"), ("db", "restore", "--yes"), ("verify",)):
            cloud.run(*command)
        assert {one.stat().st_uid for one in state.glob("pileus.db*")} == {user}, "restored with its rights"
        cloud.start()
        assert (state / "secrets" / "passwords.json").read_text() == before
        owned = {path.name: path.stat().st_uid for path in [*state.glob("pileus.db*"), *(state / "secrets").rglob("*")]}
        assert {name: owner for name, owner in owned.items() if owner != user and ".replaced-" not in name} == {}
        assert (state / "clouds.yaml").stat().st_uid == 0
        assert (state / "clouds.yaml").stat().st_mode & 0o777 == 0o600
        cloud.until(lambda: "up" in cloud.run("status"))


def test_the_metrics_are_of_both(state: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (state / "config.json").write_text(json.dumps({"metrics_listen": address}))
    with running(state) as cloud:

        def figures() -> dict[str, float]:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
            return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

        cloud.until(lambda: "pileus_node_process_resident_memory_bytes" in figures())
        found = figures()
        assert found["pileus_metrics_failures_total"] == 0
        assert found["process_open_fds"] > 5
        for name in ("process_resident_memory_bytes", "pileus_node_process_resident_memory_bytes"):
            assert found[name] > 10 << 20


def test_both_write_one_log_and_status_shows_both(state: Path) -> None:
    with running(state) as cloud:
        (state / "images" / "x").write_text("")
        found = json.loads(cloud.run("status", "--json"))
        assert set(found["processes"].values()) == {cloud.node, cloud.api}
        assert 40 < found["memory_mib"] < 140
        assert f"requests are parsed by process {cloud.api}" in cloud.log()


def test_what_was_planted_in_the_directory_is_neither_followed_nor_given_away(state: Path) -> None:
    config = Config(state=str(state))
    hand_over(config)
    secret = state.parent / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    (state / "secrets" / "link").symlink_to(secret)
    os.link(secret, state / "secrets" / "name")
    (state / "pileus.db").symlink_to(secret)
    hand_over(config)
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (0, 0o600)


def test_passwords_that_root_alone_needs_stay_roots_and_a_cloud_that_is_one_process_again_is_marked_so(state: Path) -> None:
    config = Config(state=str(state), database="postgresql://db/cloud")
    (state / "secrets").mkdir(mode=0o700)
    for name in ("database", "fencing.json", "seal.key"):
        (state / "secrets" / name).write_text("secret")
        (state / "secrets" / name).chmod(0o600)
    hand_over(config)
    user = user_of(config)
    assert {one.name: one.stat().st_uid for one in (state / "secrets").iterdir()} == {"database": 0, "fencing.json": 0, "seal.key": user}
    with as_its_user(config):
        assert os.geteuid() == user
    take_back(config)
    with as_its_user(config):
        assert os.geteuid() == 0


def test_machines_that_share_their_images_share_the_user_of_the_first(state: Path) -> None:
    """So that what one has written the other may remove; else each cloud has a user of its own."""
    shared = state.parent / "images"
    shared.mkdir()
    clouds = [Config(state=str(state.parent / name), bus="nats://bus:4222", database="postgresql://db/cloud") for name in ("one", "two")]
    for one in clouds:
        one.directory.mkdir(mode=0o711)
        (one.directory / "images").symlink_to(shared)
    first = user_of(clouds[0])
    assert first != user_of(clouds[1])
    hand_over(clouds[0])
    assert user_of(clouds[0]) == user_of(clouds[1]) == first
    hand_over(clouds[1])
    assert (shared.stat().st_uid, shared.stat().st_gid) == (0, first)
    os.chown(shared, -1, 1000)  # who is no other process of a cloud has no say
    assert user_of(clouds[1]) != 1000


def test_a_machine_that_lets_no_process_be_another_user_has_one_process_and_says_so(state: Path) -> None:
    (state / "config.json").write_text("{}")
    with running(state) as cloud:
        cloud.stop()
    blocked = ["setpriv", "--bounding-set", "-setuid", "--inh-caps", "-setuid"]
    command = [*blocked, sys.executable, "-m", "pileus.cli.main", "--state", str(state), "serve", "--listen", cloud.listen]
    state.mkdir(mode=0o711, exist_ok=True)
    cloud.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        cloud.until(cloud.answers)
        assert pid_of_other(state) is None
        assert "requests are parsed by a process of root" in cloud.log()
    finally:
        cloud.stop()
        cloud.run("down", "--destroy", "--yes", check=False)
