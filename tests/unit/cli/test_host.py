"""`pileus host`: what a drain does with each server, and what is said when something can't be done."""

from typing import Any

import pytest
from click.testing import CliRunner, Result

from pileus.cli import host
from pileus.cli.client import ApiError
from pileus.cli.host import how
from pileus.model.errors import Conflict, NotFound, PileusError, Unavailable

WHERE, TASK = "OS-EXT-SRV-ATTR:host", "OS-EXT-STS:task_state"


class FakeApi:
    """A cloud of h1 and h2: what moves is there at the next look. `stuck`: servers that do not move; `asked`: what was asked for."""

    def __init__(self, **statuses: str) -> None:
        self.servers = {name: {"id": name, "name": name, "status": status, WHERE: "h1", TASK: None} for name, status in statuses.items()}
        self.hosts = [self.host("h1"), self.host("h2")]
        self.stuck: set[str] = set()
        self.comes_late: dict[str, Any] | None = None
        self.asked: list[tuple[str, str, Any]] = []

    @staticmethod
    def host(name: str, **fields: Any) -> dict[str, Any]:
        return {
            "name": name, "cluster": "default", "state": "up", "status": "enabled", "servers": 0, "memory_mib": 1024,
            "memory_used_mib": 0, **fields,
        }  # fmt: skip

    def get(self, path: str) -> Any:
        if path.startswith("/cluster/v1/hosts"):
            return {"hosts": self.hosts}
        if path.startswith("/cluster/v1/leaders"):
            return {"leaders": [{"name": "cluster/default", "holder": "m/7", "seconds_left": 2.5, "term": 3}]}
        if "/os-services" in path:
            name = path.partition("host=")[2].partition("&")[0]
            return {"services": [{"id": f"service-{name}", "forced_down": name == "h2"} for one in self.hosts if one["name"] == name]}
        if "/servers/detail" in path:
            return {"servers": [dict(one) for one in self.servers.values() if one[WHERE] == "h1"]}
        return {"server": dict(self.servers[path.rpartition("/")[2]])}

    def post(self, path: str, body: Any) -> Any:
        name = path.split("/")[-2]
        self.asked.append(("POST", name, body))
        server = self.servers[name]
        if name in self.stuck:
            raise ApiError("409 there is no room")
        if "confirmResize" in body:
            server["status"] = "SHUTOFF"
        else:
            server[WHERE] = "h2"
            server["status"] = "VERIFY_RESIZE" if server["status"] == "SHUTOFF" else server["status"]

    def call(self, method: str, path: str, body: Any = None, headers: Any = None) -> Any:
        self.asked.append((method, path.rpartition("/")[2], body))
        if body and body.get("status") == "disabled" and self.comes_late:
            self.servers[self.comes_late["name"]] = self.comes_late


def run(api: FakeApi, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.setattr(host, "_api", lambda ctx: api)
    monkeypatch.setattr(host, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(host.signal, "signal", lambda *_: None)
    return CliRunner().invoke(host.command, list(words))


def error(result: Result) -> PileusError:
    assert isinstance(result.exception, PileusError), (result.exception, result.output)
    return result.exception


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("ACTIVE", "live migration"),
        ("PAUSED", "live migration"),
        ("SHUTOFF", "moved with its disks while it is off"),
        ("SUSPENDED", "moved suspended, with disks and memory"),
        ("ERROR", "left alone while it is ERROR"),
        ("VERIFY_RESIZE", "left alone while it is VERIFY_RESIZE"),
    ],
)
def test_how_a_server_leaves_its_host(status: str, expected: str) -> None:
    assert how({"status": status}) == expected


def test_a_plan_shows_and_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi(web="ACTIVE", old="SHUTOFF")
    result = run(api, monkeypatch, "drain", "h1", "--plan")
    assert result.exit_code == 0 and api.asked == []
    assert "web" in result.output and "live migration" in result.output and "2 server(s) on h1" in result.output


def test_a_drain_closes_the_host_then_moves_every_server(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi(web="ACTIVE", old="SHUTOFF", asleep="SUSPENDED")
    result = run(api, monkeypatch, "drain", "h1", "--yes")
    assert result.exit_code == 0, result.output
    assert api.asked[0][0:2] == ("PUT", "service-h1") and api.asked[0][2]["status"] == "disabled"
    assert ("POST", "web", {"os-migrateLive": {"host": None, "block_migration": "auto"}}) in api.asked
    assert ("POST", "old", {"confirmResize": None}) in api.asked
    assert {one[WHERE] for one in api.servers.values()} == {"h2"}
    assert "h1 is empty" in result.output and "pileus host enable h1" in result.output


def test_what_was_placed_just_before_the_host_was_closed_moves_too(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi(web="ACTIVE")
    api.comes_late = {"id": "late", "name": "late", "status": "ACTIVE", WHERE: "h1", TASK: None}
    result = run(api, monkeypatch, "drain", "h1", "--yes")
    assert result.exit_code == 0, result.output
    assert api.servers["late"][WHERE] == "h2"


def test_what_stays_is_named_and_the_others_move(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi(web="ACTIVE", big="ACTIVE", broken="ERROR")
    api.stuck = {"big"}
    failure = error(run(api, monkeypatch, "drain", "h1", "--yes"))
    assert isinstance(failure, Unavailable)
    assert "2 server(s) are still on h1: big, broken" in failure.message and "pileus why" in failure.message
    assert api.servers["web"][WHERE] == "h2"


def test_ctrl_c_pauses_and_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi(web="ACTIVE")

    def interrupted(path: str, body: Any) -> None:
        raise KeyboardInterrupt

    api.post = interrupted  # type: ignore[method-assign]
    result = run(api, monkeypatch, "drain", "h1", "--yes")
    assert result.exit_code == 130
    assert "Paused" in result.output and "pileus host drain h1" in result.output and "pileus host enable h1" in result.output


def test_a_host_that_is_not_there_is_named_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = error(run(FakeApi(), monkeypatch, "drain", "h9"))
    assert isinstance(failure, NotFound) and "h9" in failure.message and "h1, h2" in failure.message


def test_a_host_with_servers_or_that_runs_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    api.hosts = [api.host("h1", servers=2), api.host("h2")]
    failure = error(run(api, monkeypatch, "remove", "h1"))
    assert isinstance(failure, Conflict) and "pileus host drain h1" in failure.message
    failure = error(run(api, monkeypatch, "remove", "h2"))
    assert isinstance(failure, Conflict) and "Stop its agent" in failure.message
    assert api.asked == []


def test_enabling_a_host_takes_back_that_it_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    assert run(api, monkeypatch, "enable", "h2").exit_code == 0
    assert [one[2] for one in api.asked] == [{"status": "enabled"}, {"forced_down": False}]
    api.asked.clear()
    assert run(api, monkeypatch, "enable", "h1").exit_code == 0
    assert [one[2] for one in api.asked] == [{"status": "enabled"}]


def test_the_list_says_why_a_host_could_not_be_fenced_and_who_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    api.hosts = [api.host("h1", state="down", fence_error="the switch does not answer")]
    result = run(api, monkeypatch, "list")
    assert "(the switch does not answer)" in result.output
    assert "cluster/default: led by m/7 for 2.5 s more, term 3" in result.output
