"""Root fences what is a host's name, by the way that root's settings say, and nothing else."""

import asyncio
from pathlib import Path

import pytest

from pileus.cli.separation.fencing import checked, fencer, runs_commands
from pileus.config import Config
from pileus.model.errors import Invalid

WAYS = {"h1": "command:/sbin/off --now", "*": "ipmi://admin@10.0.0.9"}


@pytest.mark.parametrize("host", ["", "--all", "-h", "a b", "a;b", "../x", "a/b", "h\n1", "é", "h" * 254, "$(id)"])
def test_what_is_no_hosts_name_is_refused(host: str) -> None:
    with pytest.raises(Invalid, match="no valid name"):
        checked(host, "", WAYS)


@pytest.mark.parametrize("address", ["localhost", "10.0.0.1; id", "-h", "10.0.0"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Invalid, match="no valid address"):
        checked("h1", address, WAYS)


def test_the_way_is_what_the_settings_say_and_none_is_refused() -> None:
    assert checked("h1", "fe80::1", WAYS).target == "/sbin/off --now"
    assert checked("h2.example.org", "", WAYS).kind == "ipmi"
    with pytest.raises(Invalid, match="names no way"):
        checked("h2", "", {"h1": WAYS["h1"]})


def test_the_command_hears_of_the_host_by_variables_alone(tmp_path: Path) -> None:
    program = tmp_path / "off"
    program.write_text(f'#!/bin/sh\necho "$# $PILEUS_HOST $PILEUS_ADDRESS" > {tmp_path}/said\n')
    program.chmod(0o755)
    (tmp_path / "secrets").mkdir()
    config = Config(state=str(tmp_path), fencing={"*": f"command:{program}"})
    assert runs_commands(config) and not runs_commands(Config(fencing={"*": WAYS["*"]}))
    assert asyncio.run(fencer(config)("h7", "10.0.0.7")) == "the command says so"
    assert (tmp_path / "said").read_text().split() == ["0", "h7", "10.0.0.7"]
