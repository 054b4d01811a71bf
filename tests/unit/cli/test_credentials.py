"""The first passwords and clouds.yaml: made once, private, and readable for clients."""

import subprocess
from pathlib import Path

import pytest
import yaml

from pileus.cli.credentials import Credentials, base_url
from pileus.cli.demo import new_key
from pileus.config import Config
from pileus.model.errors import NotFound


def test_passwords_are_made_once(tmp_path: Path) -> None:
    first = Credentials(tmp_path).passwords()
    assert Credentials(tmp_path).passwords() == first
    assert set(first) == {"admin", "demo"}
    assert first["admin"] != first["demo"]
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "secrets" / "passwords.json").stat().st_mode & 0o777 == 0o600


def test_clouds_yaml_holds_three_clouds(tmp_path: Path) -> None:
    file = Credentials(tmp_path).write_clouds(Config(state=str(tmp_path), listen="127.0.0.1:5001"))
    clouds = yaml.safe_load(file.read_text())["clouds"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert set(clouds) == {"pileus", "pileus-admin", "pileus-system"}
    assert clouds["pileus"]["auth"]["auth_url"] == "http://127.0.0.1:5001/identity"
    assert clouds["pileus"]["auth"]["project_name"] == "demo"
    assert clouds["pileus-system"]["auth"]["system_scope"] == "all"
    assert "project_name" not in clouds["pileus-system"]["auth"]


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:5000", "http://[::1]:5000"),
        ("[2001:db8::1]:5000", "http://[2001:db8::1]:5000"),
    ],
)
def test_the_address_that_this_machine_uses(listen: str, url: str) -> None:
    assert base_url(Config(listen=listen)) == url


def test_a_public_address_and_tls_are_honoured() -> None:
    assert base_url(Config(tls_certificate="/c", tls_key="/k")) == "https://127.0.0.1:5000"
    assert base_url(Config(public_url="https://cloud.example")) == "https://cloud.example"


def test_the_key_is_one_that_ssh_reads(tmp_path: Path) -> None:
    private, public = new_key()
    file = tmp_path / "key"
    file.write_bytes(private)
    file.chmod(0o600)
    try:
        told = subprocess.run(["ssh-keygen", "-y", "-f", str(file)], capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("needs ssh-keygen (openssh-client)")
    assert told.split()[:2] == public.split()[:2]


def test_who_only_uses_passwords_makes_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Credentials(tmp_path).known_passwords()
    made = Credentials(tmp_path).passwords()
    assert Credentials(tmp_path).known_passwords() == made
