"""The audit log: every request that would write leaves one line, whoever asked and however it ended; no secret stands in it."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.api.audit import READING, AuditLog
from pileus.api.request import encode
from pileus.api.routes import PUBLIC, Route, Service
from pileus.core import request_ids
from tests.api.harness import PASSWORD, TestCloud, services
from tests.api.test_access import address


class Audited:
    """A cloud with an audit log."""

    def __init__(self, **limits: int) -> None:
        self.cloud = TestCloud()
        self.log = AuditLog(self.cloud.directory, **limits)
        self.cloud.cloud.watchers.append(self.log)
        self.seen = 0

    def lines(self) -> list[dict[str, Any]]:
        """Those that have come since the last look."""
        found = [json.loads(line) for line in self.log.path.read_text().splitlines()]
        fresh, self.seen = found[self.seen :], len(found)
        return fresh

    def line(self) -> dict[str, Any]:
        """The only one that has come."""
        (one,) = self.lines()
        return one


@pytest.fixture(scope="module")
def audited() -> Iterator[Audited]:
    one = Audited()
    yield one
    one.log.close()
    one.cloud.close()


def ask(cloud: TestCloud, service: Service, route: Route, who: str) -> Any:
    """Ask for a route with a body that leads to it, whatever comes of it."""
    body = {route.action: None} if route.action else {}
    headers = {"content-type": route.media[0] if route.media else "application/octet-stream" if route.stream else "application/json"}
    if service.history:
        version = route.until or service.history.maximum
        headers["openstack-api-version"] = f"{service.history.header} {version[0]}.{version[1]}"
    return cloud.call(route.method, address(service, route), who, content=encode(body), headers=headers)


@pytest.mark.parametrize("who", ["nobody", "reader", "admin"])
@pytest.mark.parametrize("service", services().values(), ids=services())
def test_every_route_that_writes_leaves_one_line_and_no_other_does(service: Service, who: str, audited: Audited) -> None:
    wrong: list[str] = []
    audited.lines()
    for route in service.routes:
        if route.method == "GET" and route.policy == PUBLIC:
            continue
        answer = ask(audited.cloud, service, route, who)
        found = audited.lines()
        name = f"{route.method} {route.path} {route.action or ''}: {answer.status}"
        if len(found) != (route.method not in READING):
            wrong.append(f"{name}: {len(found)} lines")
        for line in found:
            expected = "success" if answer.status < 400 else "refused" if answer.status < 500 else "failed"
            user = None if who == "nobody" or line["event"] == "login" else audited.cloud.user_id(who)
            same = (line["result"], line["status"], line["request_id"], line["who"].get("user_id") if "who" in line else None)
            if same != (expected, answer.status, answer.headers["x-openstack-request-id"], user):
                wrong.append(f"{name}: {line}")
            if who == "nobody" and route.action:
                continue  # is refused before the body, which holds the action's name, is read
            place = (line["service"], line["route"].strip("/"), line.get("action"))
            if place != (service.type or service.name, route.path.strip("/"), route.action):
                wrong.append(f"{name}: another route: {line}")
    assert not wrong, "\n".join(wrong)


def test_a_line_says_who_did_what_to_what_from_where(audited: Audited) -> None:
    cloud = audited.cloud
    audited.lines()
    token = cloud.token("member")
    made = cloud.call("POST", "/network/v2.0/networks", token, {"network": {"name": "n"}})
    line = audited.line()
    identity = cloud.tokens.validate(token)
    assert line["who"] == {
        "user_id": cloud.user_id("member"),
        "project_id": cloud.project_id(),
        "roles": sorted(identity.roles),
        "audit_id": identity.audit_ids[0],
    }
    assert (line["service"], line["route"], line["method"], line["status"]) == ("network", "/v2.0/networks", "POST", 201)
    assert (line["resource"], line["address"], line["result"]) == ([made.json["network"]["id"]], "127.0.0.1", "success")
    cloud.call("DELETE", f"/network/v2.0/networks/{made.json['network']['id']}", token)
    assert audited.line()["resource"] == [made.json["network"]["id"]]


def test_refused_writes_stand_there_with_the_reason(audited: Audited) -> None:
    cloud = audited.cloud
    audited.lines()
    cloud.call("POST", "/network/v2.0/networks", None, {"network": {}})
    cloud.call("POST", "/network/v2.0/networks", "not a token", {"network": {}})
    cloud.call("POST", "/compute/v2.1/flavors", "reader", {"flavor": {}})
    cloud.call("DELETE", "/network/v2.0/networks/none", "member")
    cloud.call("POST", "/nowhere/at/all", "member", {})
    found = [(one["status"], one["error"], one["result"]) for one in audited.lines()]
    assert found == [
        (401, "Unauthorized", "refused"),
        (401, "Unauthorized", "refused"),
        (403, "Forbidden", "refused"),
        (404, "NotFound", "refused"),
        (404, "NotFound", "refused"),
    ]


def login(cloud: TestCloud, user: str, password: str) -> Any:
    who = {"name": user, "domain": {"id": "default"}, "password": password}
    scope = {"project": {"name": "demo", "domain": {"id": "default"}}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
    return cloud.call("POST", "/identity/v3/auth/tokens", None, body)


def test_logins_stand_there_those_that_fail_too_and_never_a_password(audited: Audited) -> None:
    cloud = audited.cloud
    audited.lines()
    answer = login(cloud, "member", PASSWORD)
    line = audited.line()
    assert (line["event"], line["result"], line["who"]["user_id"]) == ("login", "success", cloud.user_id("member"))
    assert line["who"]["audit_id"] == answer.json["token"]["audit_ids"][0]
    login(cloud, "member", "a wrong and secret password")
    line = audited.line()
    assert (line["event"], line["result"], line["status"], line["who"]) == ("login", "refused", 401, {"user_name": "member"})
    text = audited.log.path.read_text()
    assert PASSWORD not in text and "secret password" not in text and answer.headers["x-subject-token"] not in text


def test_what_somebody_calls_himself_fills_no_more_than_a_line(audited: Audited) -> None:
    audited.lines()
    login(audited.cloud, 'x\n{"event":"login"}' + "y" * 5000, "p")
    line = audited.line()
    assert line["who"]["user_name"].startswith('x\n{"event"') and len(line["who"]["user_name"]) <= 512


def test_the_file_turns_over_and_keeps_so_many() -> None:
    audited = Audited(largest=2000, kept=2)
    for number in range(30):
        audited.cloud.call("DELETE", f"/network/v2.0/networks/{number}", "member")
    folder = audited.log.path.parent
    names = sorted(one.name for one in folder.iterdir())
    sizes = [(folder / name).stat().st_size for name in names]
    kept = [json.loads(line)["path"][-2:] for name in reversed(names) for line in (folder / name).read_text().splitlines()]
    modes = {(folder / name).stat().st_mode & 0o777 for name in names}
    audited.log.close()
    audited.cloud.close()
    assert names == ["audit.log", "audit.log.1", "audit.log.2"] and max(sizes) <= 2000 and modes == {0o600}
    assert kept == [f"{number}"[-2:] for number in range(30 - len(kept), 30)], "what is kept is the newest, in order"


def test_a_line_that_a_power_loss_cut_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "audit.log").write_text('{"event":"wri')
    log = AuditLog(tmp_path)
    log._write(b'{"event":"write"}\n')
    log.close()
    assert log.path.read_text().splitlines()[1:] == ['{"event":"write"}']


def test_a_full_disk_costs_the_line_but_not_the_request(caplog: pytest.LogCaptureFixture) -> None:
    audited = Audited()
    os.close(audited.log._file)
    audited.log._file = os.open("/dev/full", os.O_WRONLY)
    with caplog.at_level(logging.ERROR):
        answer = audited.cloud.call("POST", "/network/v2.0/networks", "member", {"network": {"name": "n"}})
    audited.cloud.close()
    assert answer.status == 201
    assert (audited.log.lost, audited.log.lines) == (1, 0)
    assert "No space left" in caplog.text and answer.headers["x-openstack-request-id"] in caplog.text


def test_what_is_logged_during_a_request_bears_its_id(audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def fails(*args: Any) -> Any:
        seen.append(request_ids.CURRENT.get())
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(audited.cloud.cloud.db, "write", fails)
    answer = audited.cloud.call("POST", "/network/v2.0/networks", "member", {"network": {"name": "n"}})
    assert answer.status == 500
    assert seen == [answer.headers["x-openstack-request-id"]]
    assert audited.lines()[-1]["result"] == "failed"
