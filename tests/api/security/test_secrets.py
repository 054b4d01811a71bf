"""Markers are planted wherever a secret comes in or is made; then logs, errors, process lists and files that others read are searched."""

import base64
import json
import logging
import os
import re
import secrets
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pileus
from pileus.bus import nkeys
from pileus.bus.authority import new_authority
from tests.api.harness import TestCloud

SOURCE = Path(__file__).parents[3] / "src"
V3, NOVA = "/identity/v3", "/compute/v2.1"


class Process:
    """A whole cloud with simulated hosts, in a process of its own. `errors` holds every answer that was not a success."""

    def __init__(self, directory: Path) -> None:
        self.state, self.output = directory / "state", directory / "output"
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{one.getsockname()[1]}"
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(self.state), "serve", "--simulate", "2", "--listen", self.listen]
        with self.output.open("wb") as output:
            environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
            self.child = subprocess.Popen(command, stdout=output, stderr=output, env=environment, umask=0)
        self.errors: list[bytes] = []
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline and self.child.poll() is None, self.output.read_text()
            time.sleep(0.05)
        self.passwords = json.loads((self.state / "secrets" / "passwords.json").read_text())

    def _answers(self) -> bool:
        try:
            return self.call("GET", V3)[0] == 200
        except (OSError, urllib.error.URLError):
            return False

    def call(self, method: str, path: str, token: str = "", body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        made = {"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {})}
        made |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"http://{self.listen}{path}", data, made, method=method), timeout=30
            ) as got:
                return got.status, {name.lower(): value for name, value in got.headers.items()}, got.read()
        except urllib.error.HTTPError as error:
            found = error.read()
            self.errors.append(found + str(error.headers).encode())
            return error.code, {name.lower(): value for name, value in error.headers.items()}, found

    def log_in(self, user: str, password: str, project: str) -> str:
        """A token."""
        who = {"name": user, "domain": {"id": "default"}, "password": password}
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        auth = {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}
        return self.call("POST", f"{V3}/auth/tokens", "", {"auth": auth})[1].get("x-subject-token", "")

    def logs(self) -> str:
        """All that the process has written for people."""
        return self.output.read_text(errors="replace") + "".join(
            path.read_text(errors="replace") for path in (self.state / "log").iterdir()
        )

    def close(self) -> None:
        """End it."""
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    tmp_path.chmod(0o755)
    one = Process(tmp_path)
    yield one
    one.close()


class Markers(dict[str, str]):
    """Name -> a text that is nowhere else."""

    def plant(self, name: str) -> str:
        """A new one."""
        return self.setdefault(name, f"Marker-{name}-{secrets.token_hex(8)}")

    def found_in(self, text: str | bytes, *names: str) -> list[str]:
        """Those that a text has, also in base64."""
        data = text.encode() if isinstance(text, str) else text
        wanted = names or tuple(self)
        return [name for name in wanted if self[name].encode() in data or _base64(self[name]) in data]


def _base64(text: str) -> bytes:
    return base64.b64encode(text.encode()).rstrip(b"=")[:-1]


KEPT = ("user data", "file")
"""What a guest is given to read, and the store keeps as it is: in the database, which is private, and not in any log."""


def test_no_secret_comes_out_where_it_should_not(process: Process) -> None:
    marks = Markers()
    marks["first password"], marks["demo's password"] = process.passwords["admin"], process.passwords["demo"]
    admin = marks["admin's token"] = process.log_in("admin", process.passwords["admin"], "admin")
    demo = marks["demo's token"] = process.log_in("demo", process.passwords["demo"], "demo")
    assert admin and demo
    user = json.loads(process.call("GET", f"{V3}/auth/tokens", demo, x_subject_token=demo)[2])["token"]["user"]["id"]
    _identity(process, marks, admin, user)
    _federation(process, marks, admin)
    server = _server(process, marks, demo)
    _mistakes(process, marks, demo, server)
    assert len(process.errors) > 25, "the errors of this test did not come about"
    assert marks.found_in("".join(marks.values())) == [*marks], "the search finds nothing"

    assert marks.found_in(process.logs()) == []
    allowed = {"address"}  # told to who gave it
    assert [name for body in process.errors for name in marks.found_in(body) if name not in allowed] == []
    assert marks.found_in(b"\n".join(command_lines(process.child.pid))) == []
    for path in readable_by_others(process.state):
        assert marks.found_in(path.read_bytes()) == [], path
    for path in process.state.glob("pileus.db*"):
        assert [name for name in marks.found_in(path.read_bytes()) if name not in (*KEPT, "address")] == [], path


def _identity(process: Process, marks: Markers, admin: str, demo: str) -> None:
    made = {"user": {"name": "marked", "password": marks.plant("user's password"), "domain_id": "default"}}
    user = json.loads(process.call("POST", f"{V3}/users", admin, made)[2])["user"]["id"]
    change = {"user": {"original_password": marks["user's password"], "password": marks.plant("second password")}}
    assert process.call("POST", f"{V3}/users/{user}/password", "", change)[0] == 204
    assert process.log_in("marked", marks["second password"], "demo") == ""
    assert process.log_in("marked", marks.plant("wrong password"), "demo") == ""
    assert process.call("PATCH", f"{V3}/users/{user}", admin, {"user": {"password": [marks["second password"]]}})[0] == 400
    assert process.call("POST", f"{V3}/users", admin, {"user": {"name": 5, "password": marks["second password"]}})[0] == 400
    member = process.log_in("demo", process.passwords["demo"], "demo")
    credential = {"application_credential": {"name": "ci", "secret": marks.plant("secret")}}
    path = f"{V3}/users/{demo}/application_credentials"
    one = json.loads(process.call("POST", path, member, credential, Idempotency_Key="k")[2])["application_credential"]
    assert process.call("POST", path, member, credential)[0] == 409
    for secret in (marks["secret"], marks.plant("wrong secret"), [marks["secret"]]):
        method = {"methods": ["application_credential"], "application_credential": {"id": one["id"], "secret": secret}}
        status, headers, _ = process.call("POST", f"{V3}/auth/tokens", "", {"auth": {"identity": method}})
        assert status == (201 if secret == marks["secret"] else 401 if isinstance(secret, str) else 400)
        marks["lent token"] = headers.get("x-subject-token") or marks["lent token"]
    blob = {"credential": {"type": "totp", "blob": marks.plant("seed")}}
    assert process.call("POST", f"{V3}/credentials", member, blob)[0] == 201
    assert (
        process.call("POST", f"{V3}/credentials", member, {"credential": {"type": "ec2", "blob": marks["seed"], "project_id": "x"}})[0]
        == 400
    )
    project = json.loads(process.call("GET", f"{V3}/auth/projects", member)[2])["projects"][0]["id"]
    key = json.loads(process.call("POST", f"{V3}/users/{demo}/credentials/OS-EC2", member, {"tenant_id": project})[2])["credential"]
    marks["key's secret"] = key["secret"]
    for wrong in (f"{marks['lent token']}x", marks["lent token"][:-3]):
        marks[f"broken token {len(wrong)}"] = wrong
        assert process.call("GET", f"{V3}/auth/projects", wrong)[0] == 401
        assert process.call("GET", f"{V3}/auth/tokens", admin, x_subject_token=wrong)[0] == 404


def _federation(process: Process, marks: Markers, admin: str) -> None:
    """Nobody is at the provider's address."""
    home = f"{V3}/OS-FEDERATION"
    place = f"{home}/identity_providers/corp/protocols/openid"
    rules = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "OIDC-name"}]}]
    settings = {"issuer": "http://127.0.0.1:1", "client_id": "c", "client_secret": marks.plant("client's secret")}
    for path, body in {
        f"{home}/identity_providers/corp": {"identity_provider": {"enabled": True}}, f"{home}/mappings/m": {"mapping": {"rules": rules}},
        place: {"protocol": {"mapping_id": "m"}}, f"{place}/openid": {"openid": settings},
    }.items():  # fmt: skip
        assert process.call("PUT", path, admin, body)[0] == 201
    shown = process.call("GET", f"{place}/openid", admin)[2]
    assert marks.found_in(shown) == [] and process.call("PUT", f"{place}/openid", admin, {"openid": settings})[0] == 200
    wrong = {**settings, "client_secret": [marks["client's secret"]]}
    assert process.call("PUT", f"{place}/openid", admin, {"openid": wrong})[0] == 400
    header = base64.urlsafe_b64encode(b'{"alg":"RS256"}').decode().rstrip("=")
    for token in (marks.plant("provider's token"), f"{header}.{marks.plant('signed token')}.x"):
        assert process.call("POST", f"{place}/auth", Authorization=f"Bearer {token}")[0] == 503
    callback = f"{V3}/auth/OS-FEDERATION/identity_providers/corp/protocols/openid/callback"
    assert process.call("GET", f"{callback}?state={marks.plant('state')}&code={marks.plant('code')}")[0] == 401


def _server(process: Process, marks: Markers, demo: str) -> str:
    pair = json.loads(process.call("POST", f"{NOVA}/os-keypairs", demo, {"keypair": {"name": "k"}}, Idempotency_Key="pair")[2])["keypair"]
    marks["private key"] = max(pair["private_key"].splitlines(), key=len)
    image = {"name": "i", "disk_format": "raw", "container_format": "bare"}
    image_id = json.loads(process.call("POST", "/image/v2/images", demo, image)[2])["id"]
    assert process.call("PUT", f"/image/v2/images/{image_id}/file", demo, b"content", Content_Type="application/octet-stream")[0] == 204
    flavor = {"flavor": {"name": "tiny", "id": "1", "ram": 64, "vcpus": 1, "disk": 1}}
    assert process.call("POST", f"{NOVA}/flavors", marks["admin's token"], flavor)[0] == 200
    body: dict[str, Any] = {"name": "s", "imageRef": image_id, "flavorRef": "1", "networks": "none", "key_name": "k",
                            "adminPass": marks.plant("admin password"),
                            "user_data": base64.b64encode(marks.plant("user data").encode()).decode()}  # fmt: skip
    status, _, answer = process.call("POST", f"{NOVA}/servers", demo, {"server": body}, Openstack_Api_Version="compute 2.50")
    assert status == 202, answer
    server = str(json.loads(answer)["server"]["id"])
    old = {**body, "networks": [], "personality": [{"path": "/etc/x", "contents": base64.b64encode(marks.plant("file").encode()).decode()}]}
    process.call("POST", f"{NOVA}/servers", demo, {"server": old})
    deadline = time.monotonic() + 30
    while json.loads(process.call("GET", f"{NOVA}/servers/{server}", demo)[2])["server"]["status"] != "ACTIVE":
        assert time.monotonic() < deadline, process.logs()
        time.sleep(0.05)
    console = {"remote_console": {"protocol": "serial", "type": "serial"}}
    shown = json.loads(
        process.call("POST", f"{NOVA}/servers/{server}/remote-consoles", demo, console, Openstack_Api_Version="compute 2.50")[2]
    )
    marks["console's token"] = shown["remote_console"]["url"].partition("token=")[2]
    for kind in ("vnc", "serial"):
        for token in (marks["console's token"], marks["console's token"] + "x"):
            process.call("GET", f"/console/{kind}?token={token}", Upgrade="websocket", Connection="Upgrade", Sec_Websocket_Version="13",
                         Sec_Websocket_Key="AAAAAAAAAAAAAAAAAAAAAA==")  # fmt: skip
    act = f"{NOVA}/servers/{server}/action"
    assert process.call("POST", act, demo, {"rebuild": {"imageRef": image_id, "adminPass": marks.plant("rebuilt password")}})[0] == 202
    process.call("POST", act, demo, {"changePassword": {"adminPass": marks.plant("changed password")}})
    process.call("POST", act, demo, {"rescue": {"adminPass": marks.plant("rescue password")}})
    return server


def _mistakes(process: Process, marks: Markers, demo: str, server: str) -> None:
    """Requests that are wrong, with secrets in every part of them."""
    marker = marks.plant("misplaced")
    places = [
        f"{V3}/auth/tokens",
        f"{V3}/users",
        f"{V3}/credentials",
        f"{NOVA}/servers",
        f"{NOVA}/servers/{server}/action",
        f"{NOVA}/os-keypairs",
    ]
    for path in places:
        for broken in (f'{{"auth": {{"password": "{marker}"', f'"{marker}"', f'["{marker}"]', f'{{"auth": "{marker}\\u0000"}}'):
            process.call("POST", path, demo, broken.encode())
        process.call(
            "POST", path, marker, {"auth": {"identity": {"methods": ["password"], "password": {"user": {"password": {"a": marker}}}}}}
        )
    for path in ("/nowhere", f"{V3}/nowhere", f"{NOVA}/servers", "/image/v2/images", "/network/v2.0/networks", "/placement/x"):
        process.call("GET", f"{path}?token={marker}&password={marker}", marker)
        process.call("GET", f"{path}?%ff{marker}", demo)
        process.call("POST", path, marker, b"x", Content_Type="text/xml")
    body = {"server": {"name": "x", "imageRef": "x", "flavorRef": "x", "adminPass": {"p": marker}, "user_data": 5}}
    process.call("POST", f"{NOVA}/servers", demo, body)
    fields = {"name": "x", "disk_format": "raw", "container_format": "bare"}
    image = json.loads(process.call("POST", "/image/v2/images", demo, fields)[2])["id"]
    for host in ("127.0.0.1", "no-such-host.invalid"):
        method = {"name": "web-download", "uri": f"http://{host}/x?signature={marks.plant('address')}"}
        assert process.call("POST", f"/image/v2/images/{image}/import", demo, {"method": method})[0] == 400


def command_lines(pid: int) -> list[bytes]:
    """Of the process and all that it has started, and of everything else that runs."""
    assert Path(f"/proc/{pid}/cmdline").read_bytes()
    found: list[bytes] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found.append((entry / "cmdline").read_bytes())
            except OSError:
                continue
    return found


def readable_by_others(directory: Path) -> list[Path]:
    """Files that another user of the machine can open."""
    if not directory.stat().st_mode & stat.S_IXOTH:
        return []
    found: list[Path] = []
    for entry in directory.iterdir():
        if entry.is_symlink():
            continue
        if entry.is_dir():
            found += readable_by_others(entry)
        elif entry.is_file() and entry.stat().st_mode & stat.S_IROTH:
            found.append(entry)
    return found


def test_what_lies_in_the_state_directory_is_private_whatever_the_umask(process: Process) -> None:
    private = [path for name in ("secrets", "pileus.db*", "clouds.yaml") for path in process.state.glob(name)]
    assert len(private) >= 3, private
    assert [path for path in private if path.stat().st_mode & 0o077] == []
    writable = [path for path in process.state.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022 and not path.is_socket()]
    assert writable == []


def test_no_core_file_of_the_process_would_hold_its_memory(process: Process) -> None:
    limits = Path(f"/proc/{process.child.pid}/limits").read_text()
    assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.MULTILINE)


def test_the_bus_gives_its_secrets_to_who_joins_and_to_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    cloud = TestCloud(bus="nats://127.0.0.1:1")
    try:
        authority = cloud.cloud.authority = new_authority()
        seeds = re.findall(r"S[A-Z0-9]{50,}", repr({name: getattr(authority, name) for name in authority.__struct_fields__}))
        assert seeds and authority.__struct_fields__
        token = str(cloud.call("POST", "/cluster/v1/tokens", "admin", json={}).json["token"])
        answers = [cloud.call("POST", "/cluster/v1/tokens", who, json={}) for who in ("member", "nobody", "reader", "manager")]
        seed = nkeys.new_seed("user")
        good = {"host": "h1", "public_key": nkeys.public_key(seed), "version": pileus.__version__, "time": time.time()}
        joined = cloud.call("POST", "/cluster/v1/join", None, {**good, "token": token})
        assert joined.status == 200 and token.encode() not in joined.body and not [one for one in seeds if one.encode() in joined.body]
        for given in (token + "x", token[:-1], "", token, [token], None):
            for wrong in (
                {},
                {"public_key": seed},
                {"public_key": 5},
                {"host": "a b"},
                {"host": "h2"},
                {"version": "0"},
                {"time": 1.0},
                {"more": 1},
            ):
                answers.append(cloud.call("POST", "/cluster/v1/join", None, {**good, "token": given, **wrong}))
        answers.append(cloud.call("POST", "/cluster/v1/join", None, content=f'{{"token": "{token}"'.encode()))
        seeds.append(seed)
        refused = [one for one in answers if one.status >= 400]
        assert len(refused) > 40
        for one in refused:
            assert token.encode() not in one.body and not [seed for seed in seeds if seed.encode() in one.body], one
        assert token not in caplog.text and not [seed for seed in seeds if seed in caplog.text]
        rows = b"".join(path.read_bytes() for path in cloud.directory.glob("pileus.db*"))
        assert token.encode() not in rows and not [seed for seed in seeds if seed.encode() in rows]
        assert token not in repr(authority) and not [seed for seed in seeds if seed in repr(authority)]
    finally:
        cloud.close()
