"""`pileus provider`: how a provider of OpenID Connect is asked, from the command line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pileus.cli import client
from pileus.cli.provider import command
from tests.api.harness import PASSWORD, TestCloud

PLACE = "/identity/v3/OS-FEDERATION/identity_providers/corp"


@pytest.fixture
def run(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator["Command"]:
    for path, body in {
        PLACE: {"identity_provider": {"enabled": True}},
        "/identity/v3/OS-FEDERATION/mappings/m": {
            "mapping": {"rules": [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "x"}]}]}
        },
        f"{PLACE}/protocols/openid": {"protocol": {"mapping_id": "m"}},
    }.items():
        assert cloud.call("PUT", path, token="admin", json=body).status == 201
    monkeypatch.setattr(client, "base_url", lambda config: cloud.url)
    monkeypatch.setattr(client.Credentials, "known_passwords", lambda self: {"admin": PASSWORD})
    yield Command(cloud)


class Command:
    """The command on a cloud that is there."""

    def __init__(self, cloud: TestCloud) -> None:
        self.state = cloud.directory

    def __call__(self, *words: str, given: str = "", code: int = 0) -> str:
        done = CliRunner().invoke(command, list(words), input=given, obj={"state": str(self.state)})
        assert done.exit_code == code, done.output
        return done.output if code == 0 else f"{done.output}{done.exception}"


SET = ("set", "corp", "openid", "--issuer", "https://idp.example", "--client-id", "pileus")


def test_a_provider_is_set_shown_and_removed(run: Command, tmp_path: Path) -> None:
    told = run(*SET, "--secret-file", "-", "--audience", "a", "--audience", "b", given="the secret\n")
    assert "/protocols/openid/callback" in told and "the secret" not in told
    shown = json.loads(run("show", "corp", "openid", "--json"))
    assert shown["has_client_secret"] and shown["audiences"] == ["a", "b"] and shown["scopes"] == ["profile", "email"]
    assert "a, b" in run("show", "corp", "openid")
    run(*SET)
    shown = json.loads(run("show", "corp", "openid", "--json"))
    assert shown["has_client_secret"] and shown["audiences"] == []
    run("remove", "corp", "openid")
    assert "404" in run("show", "corp", "openid", code=1)


def test_what_is_wrong_is_said(run: Command, tmp_path: Path) -> None:
    assert "can't be read" in run(*SET, "--secret-file", str(tmp_path / "gone"), code=1)
    (tmp_path / "pem").write_text("x")
    assert "certificate" in run(*SET, "--authorities", str(tmp_path / "pem"), code=1)
    assert "HS256" in run(*SET, "--algorithm", "HS256", code=1)
    assert "404" in run("set", "corp", "other", *SET[3:], code=1)
