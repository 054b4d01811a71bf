"""A real cloud of one machine on PostgreSQL: two processes where the server takes the one without rights, one where it knows only root."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.cli.daemons import Postgresql, database_url
from pileus.cli.separation.child import pid_of_other
from pileus.cli.separation.ownership import user_of
from pileus.config import Config
from tests.driver.test_separation import of_status, running, state

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a process that gives it up")]
__all__ = ["state"]

BY_NAME = "local all all peer map=ours\n"
NAMES = "ours root pileus\nours root postgres\nours postgres postgres\n"


@pytest.fixture
def server(state: Path) -> Iterator[Postgresql]:
    """A server as `up --hosts` has it, whose socket lets in root and the cloud's own user."""
    made = Postgresql(state.parent, user_of(Config(state=str(state))))
    if made.programs is None:
        pytest.skip("needs PostgreSQL's server: apt-get install postgresql")
    try:
        made.start()
        (state / "config.json").write_text(json.dumps({"database": database_url(state.parent)}))
        yield made
    finally:
        made.stop()


def admits_by_name(server: Postgresql) -> None:
    """As many a distribution sets it up, and as clouds of older versions have it: who comes by the socket is who the kernel says."""
    for name, text in (("pg_hba.conf", BY_NAME), ("pg_ident.conf", NAMES)):
        (server.directory / "data" / name).write_text(text)
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGHUP)


def test_managers_reach_the_database_without_privileges(server: Postgresql, state: Path) -> None:
    with running(state) as cloud:
        api = of_status(cloud.api)
        assert api["Uid"].split() == [str(user_of(Config(state=str(state))))] * 4
        assert {int(api[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
        assert (api["NoNewPrivs"], api["Seccomp"]) == ("1", "2")
        cloud.until(lambda: "up" in cloud.run("status"))
        cloud.run("verify")
        hidden = Path(f"/proc/{cloud.api}/root{server.directory}")
        assert sorted(os.listdir(hidden)) == ["run"], "of the server's directory it sees the socket's alone"


def test_where_the_database_knows_root_alone_one_process_of_root_goes_on_and_says_what_to_do(server: Postgresql, state: Path) -> None:
    admits_by_name(server)
    with running(state) as cloud:
        assert pid_of_other(state) is None
        assert "the database refuses its user" in cloud.log() and "give the database's role a password" in cloud.log()
        assert json.loads(cloud.run("status", "--json"))["processes"] == {"all, as root": cloud.node}
        cloud.run("verify")
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(state), "doctor", "--json"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
        apart = next(one for one in json.loads(said) if one["name"] == "API without privileges")
        assert not apart["works"] and "refuses its user" in apart["detail"] and "password" in apart["remedy"]
        cloud.stop()
        server.start()  # an older version's rules are renewed
        cloud.start()
        assert of_status(cloud.api)["Seccomp"] == "2", "and from the next start on there are two"
