"""A cloud's secrets on disk: first passwords, and the `clouds.yaml` that clients read."""

import json
import os
import secrets
from pathlib import Path

from pileus import durable
from pileus.config import Config
from pileus.model.errors import Forbidden, NotFound


class Credentials:
    """What lies in DIR/secrets (0700) and DIR/clouds.yaml (0600)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.secrets = directory / "secrets"
        self.file = directory / "clouds.yaml"

    def passwords(self) -> dict[str, str]:
        """The first passwords of `admin` and `demo`; made at random when they are first asked for."""
        file = self.secrets / "passwords.json"
        try:
            self.secrets.mkdir(mode=0o700, exist_ok=True)
            if not file.exists():
                made = {name: secrets.token_urlsafe(18) for name in ("admin", "demo")}
                write_private(file, json.dumps(made) + "\n")
            return json.loads(file.read_text())
        except FileNotFoundError as error:
            raise NotFound(f"There is no cloud in {self.directory}. Start one with up, or choose it with --state DIR.") from error
        except PermissionError as error:
            raise Forbidden(f"The passwords of the cloud in {self.directory} are not this user's to read. Use sudo.") from error

    def known_passwords(self) -> dict[str, str]:
        """Those that were made; NotFound before. For who only uses them: what root makes, the process that parses requests can't read."""
        if not self.secrets.exists() or (os.access(self.secrets, os.X_OK) and not (self.secrets / "passwords.json").exists()):
            raise NotFound(f"There is no cloud in {self.directory}. Start one with up, or choose it with --state DIR.")
        return self.passwords()

    def write_clouds(self, config: Config) -> Path:
        """clouds.yaml with the clouds `pileus`, `pileus-admin` and `pileus-system`."""
        passwords = self.passwords()
        url = f"{base_url(config)}/identity"
        clouds = {
            "pileus": {"auth": _auth(url, "demo", passwords["demo"], project="demo")},
            "pileus-admin": {"auth": _auth(url, "admin", passwords["admin"], project="admin")},
            "pileus-system": {"auth": {**_auth(url, "admin", passwords["admin"]), "system_scope": "all"}},
        }
        for cloud in clouds.values():
            cloud |= {"region_name": config.region, "identity_api_version": "3", "interface": "public"}
        write_private(self.file, "# Written by pileus at each start.\n" + _yaml({"clouds": clouds}))
        owner = os.environ.get("SUDO_UID")
        if owner and os.geteuid() == 0:  # whoever said `sudo ./pileus up` uses it without sudo
            os.chown(self.file, int(owner), int(os.environ.get("SUDO_GID", owner)), follow_symlinks=False)
        return self.file


def base_url(config: Config) -> str:
    """Where this machine reaches the API."""
    if config.public_url:
        return config.public_url
    host, _, port = config.listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"{'https' if config.tls_certificate else 'http'}://{host}:{port}"


def _auth(url: str, user: str, password: str, project: str | None = None) -> dict[str, str]:
    auth = {"auth_url": url, "username": user, "password": password, "user_domain_id": "default"}
    return auth | ({"project_name": project, "project_domain_id": "default"} if project else {})


def _yaml(value: dict[str, object], indent: int = 0) -> str:
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines.append(f"{' ' * indent}{key}:\n{_yaml(item, indent + 2)}")
        else:
            lines.append(f"{' ' * indent}{key}: {json.dumps(item)}\n")
    return "".join(lines)


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner reads; whole or not at all."""
    durable.write(file, text.encode())
