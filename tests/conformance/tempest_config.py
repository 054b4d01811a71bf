"""What the suites need of a running cloud: images and users where there are none, Tempest's settings, the clients' clouds.yaml.

All that is written holds passwords, and is its owner's alone (0600). Services that the catalog lacks are set unavailable.
"""

import configparser
import json
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from openstack.connection import Connection

from tests.conformance.cloud import Place

SERVICES = {
    "nova": "compute",
    "neutron": "network",
    "glance": "image",
    "placement": "placement",
    "cinder": "block-storage",
    "swift": "object-store",
}
IMAGES = ("tempest-a", "tempest-b")
PASSWORD_RULES = {
    "user_lockout_failure_attempts": "lockout_attempts",
    "user_lockout_duration": "lockout_time",
    "user_unique_last_password_count": "password_history",
}
"""Tempest's words for the settings of a cloud."""
DISK_FORMATS = ["raw"] * 6 + ["qcow2", "iso"]
"""Tempest uploads random bytes as the first six pairs of formats, and only a raw disk may be that; the rest it uses with real images."""
EVERY_FORMAT = ["raw", "qcow2", "iso", "vmdk", "vdi", "vhd", "vhdx"]
MIB = 1 << 20


def connect(state: Path, cloud: str) -> tuple[Connection, dict[str, Any]]:
    """A connection as one of the clouds of clouds.yaml, and its entry."""
    entry: dict[str, Any] = yaml.safe_load((state / "clouds.yaml").read_text())["clouds"][cloud]
    return Connection(auth=entry["auth"], region_name=entry["region_name"], identity_api_version=entry["identity_api_version"]), entry


def images(admin: Connection) -> tuple[str, str]:
    """Two images to boot, the real guest first where there is one; blank disks elsewhere, which only a simulated host boots."""
    there = {image.name: image.id for image in admin.image.images() if image.status == "active"}
    wanted = ["pileus-guest", "tempest-guest-copy"] if "pileus-guest" in there else list(IMAGES)
    for name in wanted:
        if name not in there:
            source = admin.image.get_image(there["pileus-guest"]) if "pileus-guest" in there else None
            data = admin.image.download_image(source).content if source else bytes(MIB)
            made = admin.image.create_image(
                name,
                data=data,
                disk_format=source.disk_format if source else "raw",
                container_format="bare",
                visibility="public",
                wait=True,
            )
            there[name] = made.id
    return there[wanted[0]], there[wanted[1]]


def settings(place: Place) -> dict[str, dict[str, Any]]:
    """Every section of tempest.conf."""
    state, web = place.state, place.images
    admin, entry = connect(state, "pileus-admin")
    auth = entry["auth"]
    services = {service.type for service in admin.identity.services()}
    here = urlsplit(auth["auth_url"])
    image, other = images(admin)
    public = next((network for network in admin.network.networks() if network.is_router_external), None)
    flavors = sorted(admin.compute.flavors(), key=lambda flavor: (flavor.ram, flavor.name))
    hypervisors = list(admin.compute.hypervisors())
    rules = json.loads((state / "config.json").read_text()) if (state / "config.json").exists() else {}
    image_rules: dict[str, Any] = rules.get("image", {})
    strict = image_rules.get("require_format_match", True)
    simulated = any(one.name.startswith("simulated-") for one in hypervisors)
    return {
        "DEFAULT": {"log_file": "tempest.log"},
        "auth": {
            "use_dynamic_credentials": True,
            "admin_username": auth["username"],
            "admin_password": auth["password"],
            "admin_project_name": auth["project_name"],
            "admin_domain_name": "Default",
        },
        "identity": {
            "uri_v3": f"{auth['auth_url']}/v3",
            "region": entry["region_name"],
            "v3_endpoint_type": "public",
            "auth_version": "v3",
            **{ours: int(rules[theirs]) for ours, theirs in PASSWORD_RULES.items() if rules.get(theirs)},
        },
        "identity-feature-enabled": {
            "access_rules": True,
            "domain_specific_drivers": False,
            "security_compliance": True,
            "enforce_scope": True,
        },
        "image": {
            "http_image": f"{web}/image.raw" if web else "",
            "http_qcow2_image": f"{web}/image.qcow2" if web else "",
            "image_caching_enabled": True,
            "disk_formats": ",".join(DISK_FORMATS if strict else EVERY_FORMAT),
            **({"images_manifest_file": place.manifest} if place.manifest else {}),
            **({"alternate_image_endpoint": place.remote} if place.remote else {}),
            "container_formats": "bare",
        },
        "image-feature-enabled": {
            "image_format_enforcement": False,  # where it is, Tempest gets formats (above) by which nothing of its own is refused
            "do_secure_hash": image_rules.get("do_secure_hash", True),
            "http_store_enabled": True,
            "manage_locations": image_rules.get("show_multiple_locations", False),
            "store_weight_enabled": any("weight" in one for one in image_rules.get("stores", {}).values()),
            "image_conversion": True,
        },
        "compute": {
            "image_ref": image,
            "image_ref_alt": other,
            "flavor_ref": flavors[0].id,
            "flavor_ref_alt": flavors[1].id,
            "min_compute_nodes": len(hypervisors),
            "max_microversion": "latest",
            "build_timeout": 30 if simulated else 300,
            "build_interval": 1,
            "shelved_offload_time": 0,
        },
        "compute-feature-enabled": {
            "resize": True,
            "cold_migration": len(hypervisors) > 1,
            "shelve": False,
            "rescue": False,
            "interface_attach": False,
            "live_migration": len(hypervisors) > 1,
            "block_migration_for_live_migration": len(hypervisors) > 1,
            "live_migrate_back_and_forth": len(hypervisors) > 1,
            "vnc_console": True,
            "console_output": True,
            "metadata_service": True,
            "config_drive": True,
        },
        "placement": {"max_microversion": "latest"},
        "network": {
            "public_network_id": public.id if public else "",
            "floating_network_name": public.name if public else "",
            "build_timeout": 30,
            "build_interval": 1,
        },
        "network-feature-enabled": {
            "ipv6": True,
            "ipv6_subnet_attributes": True,
            "floating_ips": True,
            "api_extensions": ",".join(e.alias for e in admin.network.extensions()),
        },
        "validation": {
            "run_validation": not simulated,
            **dict.fromkeys(("image_ssh_user", "image_alt_ssh_user"), "pileus"),
            "connect_method": "floating",
            "ssh_timeout": 200,
        },
        "glance_api": {"system_scope_supported": True},
        "enforce_scope": {"keystone": True, "glance": True},
        "scenario": {"dhcp_client": "udhcpc"},
        "service_available": {name: kind in services for name, kind in SERVICES.items()} | {"horizon": False},
        "dashboard": {"dashboard_url": f"{here.scheme}://{here.netloc}/"},
    }


def accounts(state: Path, workers: int) -> list[dict[str, Any]]:
    """Users made beforehand, enough for so many tests at once: projects with a member and a reader each, which is what the guidelines of
    interoperability ask for, administrators, and readers of the system. Members come first: Tempest takes the first that is free."""
    admin, _ = connect(state, "pileus-admin")
    default: dict[str, Any] = {"domain_name": "Default"}
    made: dict[str, list[dict[str, Any]]] = {"member": [], "reader": [], "admin": [], "system": []}
    for number in range(3 * workers):
        project = admin.identity.create_project(name=f"tempest-{number}-{secrets.token_hex(3)}", domain_id="default")
        for role in ("member", "reader", *(("admin",) if number < 2 * workers else ())):
            user, entry = _user(admin, f"{project.name}-{role}")
            admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role(role, ignore_missing=False))
            made[role].append({**entry, **default, "project_name": project.name, "roles": [role]})
    for _ in range(workers):
        user, entry = _user(admin, f"tempest-system-{secrets.token_hex(3)}")
        admin.identity.assign_system_role_to_user(user, admin.identity.find_role("reader", ignore_missing=False), "all")
        made["system"].append({**entry, "user_domain_name": "Default", "system": "all", "roles": ["reader"]})
    return [one for group in made.values() for one in group]


def _user(admin: Connection, name: str) -> tuple[Any, dict[str, Any]]:
    password = secrets.token_urlsafe(16)
    return admin.identity.create_user(name=name, password=password, domain_id="default"), {"username": name, "password": password}


def write_clouds(state: Path, folder: Path) -> str:
    """folder/clouds.yaml with the names that the clients' own tests use: two users, administrators of a project and of the system.

    Returns the name of an image for them.
    """
    admin, entry = connect(state, "pileus-admin")
    clouds: dict[str, Any] = yaml.safe_load((state / "clouds.yaml").read_text())["clouds"]
    named = {"devstack-admin": entry, "devstack-system-admin": clouds["pileus-system"]}
    for name in ("devstack", "devstack-alt"):
        project = admin.identity.create_project(name=f"{name}-{secrets.token_hex(3)}", domain_id="default")
        user, login = _user(admin, project.name)
        admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role("member", ignore_missing=False))
        named[name] = {**entry, "auth": {**entry["auth"], **login, "project_name": project.name}}
    _private(folder / "clouds.yaml", yaml.safe_dump({"clouds": named}))
    return str(admin.image.get_image(images(admin)[0]).name)


def write(workspace: Path, sections: dict[str, dict[str, Any]], users: list[dict[str, Any]] | None = None) -> Path:
    """Write the files; returns tempest.conf's path."""
    workspace.mkdir(parents=True, exist_ok=True)
    if users is not None:
        _private(workspace / "accounts.yaml", yaml.safe_dump(users))
        sections["auth"] |= {"use_dynamic_credentials": False, "test_accounts_file": str(workspace / "accounts.yaml")}
    parser = configparser.RawConfigParser(default_section="")
    for section, values in sections.items():
        parser[section] = {name: str(value) for name, value in values.items()}
    path = workspace / "tempest.conf"
    _private(path, "")
    with path.open("w") as file:
        parser.write(file)
    return path


def _private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
