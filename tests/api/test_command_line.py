"""The command line on a cloud of simulated hosts, as a user without root runs it: up, status, why, verify, the client, down."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "src"
DEADLINE = 30.0


class Cloud:
    """`pileus --state DIR ...`, in this environment's Python."""

    def __init__(self, state: Path) -> None:
        self.state = state
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(self.state), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
        )

    def run(self, *arguments: str, code: int = 0) -> Any:
        """What it printed; the exit code must be as expected, and a traceback is never shown."""
        process = self.start(*arguments)
        out, error = process.communicate(timeout=DEADLINE * 2)
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{out}\n{error}"
        assert "Traceback" not in out + error
        return subprocess.CompletedProcess(arguments, code, out, error)

    def document(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def up(self, *options: str) -> Any:
        return self.run("up", "--detach", "--listen", self.listen, "--simulate", "2", *options)


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud of two simulated hosts with its first server."""
    simulated = Cloud(tmp_path_factory.mktemp("simulated") / "state")
    try:
        simulated.first = simulated.up()  # type: ignore[attr-defined]
        yield simulated
    finally:
        if simulated.state.exists():
            simulated.run("down", "--destroy", "--yes")


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Cloud]:
    """A directory without a cloud; what is made in it goes."""
    fresh = Cloud(tmp_path / "state")
    yield fresh
    if fresh.state.is_dir() and (fresh.state / "config.json").exists():
        fresh.start("down", "--destroy", "--yes").communicate(timeout=DEADLINE)


def test_up_says_where_everything_is(cloud: Cloud) -> None:
    told = cloud.first.stdout  # type: ignore[attr-defined]
    assert f"http://{cloud.listen}/identity" in told
    assert str(cloud.state / "clouds.yaml") in told
    assert "hello at 172.24." in told


def test_up_again_finds_what_is_there(cloud: Cloud) -> None:
    again = cloud.run("up", "--detach")
    assert "runs already" in again.stderr
    assert len(cloud.document("status")["servers"]) == 1


def test_up_with_other_settings_asks_to_stop_first(cloud: Cloud) -> None:
    assert "runs with other settings" in cloud.run("up", "--detach", "--simulate", "5", code=1).stderr
    assert cloud.document("status")["api"] == f"http://{cloud.listen}"


def test_status_shows_hosts_and_servers(cloud: Cloud) -> None:
    found = cloud.document("status")
    assert found["running"] is True
    assert found["roles"] == ["cloud", "cluster", "node"]
    assert [(one["name"], one["state"]) for one in found["hosts"]] == [("simulated-00001", "up"), ("simulated-00002", "up")]
    assert [(one["name"], one["status"]) for one in found["servers"]] == [("hello", "ACTIVE")]
    assert "hello" in cloud.run("status").stdout


def test_why_explains_the_placement(cloud: Cloud) -> None:
    decision = cloud.document("why", "hello")[0]["decision"]
    assert decision["host"].startswith("simulated-")
    assert decision["resources"]["VCPU"] == 1
    assert "Placed on simulated-" in cloud.run("why", "hello").stdout
    assert "There is no server nobody" in cloud.run("why", "nobody", code=1).stderr


def test_a_migration_is_forecast_watched_and_listed(cloud: Cloud) -> None:
    assert cloud.document("migration", "forecast", "hello")["converges"] is True
    assert "forecast: 1 round" in cloud.run("migration", "forecast", "hello").stdout
    assert "never moved" in cloud.run("migration", "watch", "hello", code=1).stderr
    words = [
        "--os-compute-api-version",
        "2.30",
        "server",
        "migrate",
        "--live-migration",
        "--wait",
        cloud.document("status")["servers"][0]["id"],
    ]
    cloud.run("openstack", "--os-cloud", "pileus-admin", *words)
    watched = cloud.run("migration", "watch", "hello").stdout
    assert "simulated-00001" in watched and "simulated-00002" in watched and "completed" in watched
    assert cloud.document("migration", "list", "--server", "hello")[0]["status"] == "completed"
    assert "live-migration" in cloud.run("migration", "list").stdout
    assert cloud.document("verify")["breaches"] == []


def test_verify_finds_records_and_hosts_of_one_mind(cloud: Cloud) -> None:
    found = cloud.document("verify")
    assert found["breaches"] == []
    assert found["invariants"] >= 20
    assert "invariants hold" in cloud.run("verify").stdout


def test_verify_says_what_differs_and_ends_with_1(cloud: Cloud) -> None:
    stray = cloud.state / "images" / ("0" * 64)
    stray.write_bytes(b"nobody's")
    try:
        found = cloud.document("verify", code=1)
    finally:
        stray.unlink()
    assert len(found["breaches"]) == 1
    assert "0" * 12 in found["breaches"][0]["evidence"]
    assert found["breaches"][0]["sentence"]


def test_an_image_is_brought_in_for_the_first_project_or_for_all(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "own.img").write_bytes(bytes(3 << 20))
    (own,) = cloud.document("image", "import", str(tmp_path / "own.img"))
    assert (own["name"], own["disk_format"], own["status"], own["visibility"]) == ("own", "raw", "active", "shared")
    (made,) = cloud.document("image", "import", str(tmp_path / "own.img"), "--name", "for all", "--public", "--min-disk", "2")
    assert (made["visibility"], made["min_disk"]) == ("public", 2)
    for image in (own, made):
        cloud.run("openstack", "--os-cloud", "pileus-admin", "image", "delete", image["id"])
    assert "There is no /nowhere" in cloud.run("image", "import", "/nowhere", code=1).stderr
    assert "expected NAME=VALUE" in cloud.run("image", "import", "x", "--property", "y", code=2).stderr


def test_certificates_of_who_signs_images_are_kept(cloud: Cloud, tmp_path: Path) -> None:
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=owner", "-keyout", "key", "-out", "owner.pem"]
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    key = cloud.run("image", "certificate", "add", str(tmp_path / "owner.pem")).stdout.strip()
    assert [(one["id"], one["subject"]) for one in cloud.document("image", "certificate", "list")] == [(key, "CN=owner")]
    assert "CN=owner" in cloud.run("image", "certificate", "list").stdout
    cloud.run("image", "certificate", "remove", key)
    assert cloud.document("image", "certificate", "list") == []
    assert "There is no certificate" in cloud.run("image", "certificate", "remove", key, code=1).stderr
    assert "no certificate in PEM" in cloud.run("image", "certificate", "add", str(tmp_path / "key"), code=1).stderr


def test_the_client_is_the_official_one(cloud: Cloud) -> None:
    assert "hello" in cloud.run("openstack", "server", "list", "-f", "value", "-c", "Name").stdout.split()


def test_a_port_that_is_taken_is_refused_before_anything_is_made(cloud: Cloud, empty: Cloud) -> None:
    refused = empty.run("up", "--simulate", "1", "--listen", cloud.listen, code=1)
    assert refused.stderr.splitlines() == [
        f"pileus: Can't listen on {cloud.listen}: Address already in use. Choose another address with --listen HOST:PORT."
    ]
    assert not empty.state.exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["status"], 3, ""),
        (["verify"], 1, "There is no cloud"),
        (["why", "hello"], 1, "There is no cloud"),
        (["openstack", "server", "list"], 1, "There is no cloud"),
        (["down"], 1, "There is no cloud"),
        (["up", "--listen", "nonsense", "--simulate", "1"], 1, "expected HOST:PORT"),
        (["up", "--simulate", "0"], 2, "--simulate"),
        (["up", "--bogus"], 2, "--bogus"),
        (["test", "nonsense"], 1, "There is no layer nonsense"),
    ],
)
def test_what_can_not_be_ends_with_one_line_and_the_way_out(empty: Cloud, words: list[str], code: int, told: str) -> None:
    done = empty.run(*words, code=code)
    assert told in done.stderr
    assert done.stderr.count("\n") <= 1
    assert not empty.state.exists()


def test_another_directory_is_never_taken_for_a_cloud(empty: Cloud) -> None:
    empty.state.mkdir()
    (empty.state / "letter.txt").write_text("dear")
    assert "holds something else" in empty.run("up", "--simulate", "1", code=1).stderr
    assert "nothing was done" in empty.run("down", "--destroy", "--yes", code=1).stderr
    assert (empty.state / "letter.txt").read_text() == "dear"


def test_in_the_foreground_ctrl_c_stops_the_control_plane_and_up_finds_all_again(empty: Cloud) -> None:
    process = empty.start("up", "--listen", empty.listen, "--simulate", "1")
    until((empty.state / "demo_ed25519").exists, "the cloud being furnished")
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert "The control plane has stopped; servers go on" in told
    assert "Traceback" not in told
    assert empty.document("status", code=3)["running"] is False
    assert "hello at 172.24." in empty.run("up", "--detach").stdout
    assert "has stopped" in empty.run("down").stdout
    assert "did not run" in empty.run("down").stdout


def test_destroying_ends_an_up_in_the_foreground_and_leaves_nothing(empty: Cloud) -> None:
    process = empty.start("up", "--listen", empty.listen, "--simulate", "1")
    until((empty.state / "pid").exists, "the control plane")
    assert "are gone" in empty.run("down", "--destroy", "--yes").stdout
    out, told = process.communicate(timeout=DEADLINE)
    assert "Traceback" not in out + told
    assert not empty.state.exists()


def test_two_ups_at_once_make_one_cloud(empty: Cloud) -> None:
    both = [empty.start("up", "--detach", "--listen", empty.listen, "--simulate", "1") for _ in range(2)]
    for process in both:
        _, told = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, told
    assert len(empty.document("status")["servers"]) == 1


def test_up_starts_the_cloud_whose_old_process_ends_while_it_waits(empty: Cloud) -> None:
    """As after a crash, whose last moments still hold the directory."""
    words = ("up", "--detach", "--no-demo", "--simulate", "1", "--listen", empty.listen)
    empty.run(*words)
    empty.run("down")
    holds = "import fcntl, sys; lock = open('lock'); fcntl.flock(lock, fcntl.LOCK_EX); print('holds', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holds], cwd=empty.state, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as old:
        assert old.stdout and old.stdout.readline() == b"holds\n"
        (empty.state / "pid").write_text(f"{old.pid}\n")
        up = empty.start(*words)
        assert up.stderr and "Control plane" in (first := up.stderr.readline()) and "ended" not in first, first
    out, error = up.communicate(timeout=DEADLINE)
    assert up.returncode == 0 and f"pid {old.pid} has ended" in out + error, out + error
    assert empty.document("status")["api"] == f"http://{empty.listen}"
