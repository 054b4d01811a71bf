"""Fencing by a command, by ipmitool, by Redfish: against programs and a server that speak as the real ones do."""

import asyncio
import base64
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pileus.bus.authority import new_authority
from pileus.core.availability import parse_fence
from pileus.model.errors import Unavailable
from pileus.reconcile import fencing

PASSWORD = "a secret of the board"
IPMITOOL = """#!/bin/sh
echo "$@" >> {directory}/argv
printf '%s' "$IPMI_PASSWORD" > {directory}/password
for word; do last=$word; done
case $last in
  off) test ! -e {directory}/refuses || {{ echo "Error: Unable to establish IPMI v2 / RMCP+ session"; exit 1; }}
       echo 3 > {directory}/left; echo "Chassis Power Control: Down/Off" ;;
  status) left=$(cat {directory}/left)
       if [ "$left" -gt 0 ]; then echo $((left - 1)) > {directory}/left; echo "Chassis Power is on"; else echo "Chassis Power is off"; fi ;;
esac
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "LOOK_EVERY", 0.01)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "fencing.json").write_text(json.dumps({"h1": PASSWORD, "*": "another"}))
    return tmp_path


def fence(how: str, secrets: Path, host: str = "h1") -> str:
    return asyncio.run(fencing.fence(host, "10.0.0.1", parse_fence(how), secrets))


def script(directory: Path, text: str, name: str = "off") -> Path:
    file = directory / name
    file.write_text(text)
    file.chmod(0o755)
    return file


# -- passwords ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", ["link", "pipe", "another's"])
def test_passwords_that_another_user_may_have_put_there_are_not_used(secrets: Path, tmp_path: Path, made: str) -> None:
    file = secrets / "fencing.json"
    whole = file.rename(tmp_path / "kept")
    if made == "link":
        file.symlink_to(whole)
    elif made == "pipe":
        os.mkfifo(file)
    elif os.geteuid() != 0:
        pytest.skip("needs root: a file of another user")
    else:
        file.write_text("{}")
        os.chown(file, 12345, 12345)
    with pytest.raises(Unavailable, match=r"fencing\.json"):
        fence(f"command:{script(tmp_path, '#!/bin/sh')}", secrets)


# -- a command ------------------------------------------------------------------------------------------------------------------------


def test_a_command_learns_the_host_its_address_and_password(secrets: Path) -> None:
    told = secrets / "told"
    program = script(secrets, f'#!/bin/sh\necho "$PILEUS_HOST $PILEUS_ADDRESS $PILEUS_FENCE_PASSWORD $1" > {told}\n')
    fence(f"command:{program} 'two words'", secrets)
    assert told.read_text().strip() == f"h1 10.0.0.1 {PASSWORD} two words"
    fence(f"command:{program}", secrets, host="h2")
    assert "another" in told.read_text()


def test_a_command_that_fails_says_why_with_its_last_line(secrets: Path) -> None:
    program = script(secrets, "#!/bin/sh\necho first\necho no such outlet >&2\nexit 4\n")
    with pytest.raises(Unavailable, match=r"h1 could not be fenced.*ended with 4: no such outlet"):
        fence(f"command:{program}", secrets)


def test_a_command_that_is_not_there_says_so(secrets: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        fence("command:/nonexistent/off", secrets)


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "TIMEOUT", 0.5)
    pids = secrets / "pids"
    program = script(secrets, f"#!/bin/sh\nsleep 60 &\necho $$ $! > {pids}\nwait\n")
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"within 0\.5 s"):
        fence(f"command:{program}", secrets)
    assert time.monotonic() - began < 10
    gone(pids)


def test_a_command_ends_when_nobody_waits_for_it_any_more(secrets: Path) -> None:
    pids = secrets / "pids"
    program = script(secrets, f"#!/bin/sh\nsleep 60 &\necho $$ $! > {pids}\nwait\n")

    async def main() -> None:
        task = asyncio.create_task(fencing.fence("h1", "", parse_fence(f"command:{program}"), secrets))
        async with asyncio.timeout(10):
            while not pids.exists() or not pids.read_text().strip():
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gone(pids)


def gone(pids: Path) -> None:
    """None of the processes in the file runs."""
    deadline = time.monotonic() + 20
    for pid in pids.read_text().split():
        while runs(int(pid)):
            assert time.monotonic() < deadline, f"process {pid} still runs"
            threading.Event().wait(0.01)


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


# -- IPMI -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def board(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of an `ipmitool` on PATH, which keeps its board's state there."""
    script(secrets, IPMITOOL.format(directory=secrets), "ipmitool")
    monkeypatch.setenv("PATH", f"{secrets}:{os.environ['PATH']}")
    return secrets


def test_a_board_is_switched_off_and_asked_until_it_says_so(board: Path) -> None:
    assert "power is off" in fence("ipmi://root@[fd00::9]:6230", board)
    asked = (board / "argv").read_text().splitlines()
    assert [one.split()[-1] for one in asked] == ["off", *["status"] * 4]
    assert all("-H fd00::9 -p 6230 -U root -E" in one for one in asked)


def test_the_boards_password_is_in_the_environment_and_not_in_the_process_list(board: Path) -> None:
    fence("ipmi://root@10.0.0.9", board)
    assert (board / "password").read_text() == PASSWORD
    assert PASSWORD not in (board / "argv").read_text()


def test_a_board_that_can_not_be_reached_has_not_switched_off(board: Path) -> None:
    (board / "refuses").touch()
    with pytest.raises(Unavailable, match="Unable to establish IPMI"):
        fence("ipmi://root@10.0.0.9", board)


def test_a_board_that_stays_on_is_given_up(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "TIMEOUT", 0.5)
    script(board, '#!/bin/sh\necho "Chassis Power is on"\n', "ipmitool")
    with pytest.raises(Unavailable, match=r"by ipmi within 0\.5 s"):
        fence("ipmi://root@10.0.0.9", board)


# -- Redfish --------------------------------------------------------------------------------------------------------------------------

SYSTEM = "/redfish/v1/Systems/1"


class Redfish(ThreadingHTTPServer):
    """A board: on until it is told to be off, and for two looks longer."""

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.state, self.left, self.resets = "On", 2, [""]
        self.resets.clear()
        self.plain = False
        certificate, key = new_authority().certificate_for(["127.0.0.1"])
        (directory / "board.pem").write_text(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "board.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def address(self) -> str:
        return f"redfish://admin@127.0.0.1:{self.server_port}{SYSTEM}"


class Asked(BaseHTTPRequestHandler):
    """One request."""

    server: Redfish

    def do_GET(self) -> None:
        board = self.server
        if board.resets and board.left:
            board.left -= 1
            board.state = "Off" if not board.left else "PoweringOff"
        self.answer(200, {"PowerState": board.state})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != f"{SYSTEM}/Actions/ComputerSystem.Reset":
            self.answer(404, {})
            return
        self.server.resets.append(body["ResetType"])
        self.answer(204, None)

    def answer(self, status: int, document: Any) -> None:
        expected = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        allowed = self.headers.get("Authorization") == expected
        data = b"<html>" if self.server.plain else b"" if document is None else json.dumps(document).encode()
        self.send_response(status if allowed else 401)
        self.send_header("Content-Length", str(len(data) if allowed else 0))
        self.end_headers()
        self.wfile.write(data if allowed else b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def redfish(tmp_path: Path) -> Iterator[Redfish]:
    server = Redfish(tmp_path)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_redfish_board_is_told_once_and_asked_until_it_is_off(redfish: Redfish, secrets: Path) -> None:
    assert "power is off" in fence(redfish.address, secrets)
    assert redfish.resets == ["ForceOff"]
    assert redfish.state == "Off" and redfish.left == 0


def test_a_redfish_board_that_is_off_is_left_alone(redfish: Redfish, secrets: Path) -> None:
    redfish.state = "Off"
    fence(redfish.address, secrets)
    assert redfish.resets == []


def test_a_wrong_password_is_told_and_not_shown(redfish: Redfish, secrets: Path) -> None:
    (secrets / "fencing.json").write_text(json.dumps({"h1": "a wrong word"}))
    with pytest.raises(Unavailable, match=r"h1 could not be fenced: its board: .*401") as caught:
        fence(redfish.address, secrets)
    assert "a wrong word" not in str(caught.value)


def test_a_server_that_is_no_board_is_told_apart(redfish: Redfish, secrets: Path) -> None:
    redfish.plain = True
    with pytest.raises(Unavailable, match="does not speak Redfish"):
        fence(redfish.address, secrets)


def test_a_board_that_does_not_listen_is_told(secrets: Path) -> None:
    with pytest.raises(Unavailable, match="its board"):
        fence("redfish://admin@127.0.0.1:1/redfish/v1/Systems/1", secrets)
