"""The bodies that create and change servers, in the newest version's form."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pileus.api.compute import fields
from pileus.model.base import Model

Index = int | Annotated[str, Meta(pattern=r"^-?[0-9]{1,18}\Z")] | None
Short = Annotated[str, Meta(max_length=255)]
Certificates = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=50)]


class WantedNic(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network or a port to plug to."""

    uuid: str | None = None
    port: fields.Uuid | None = None
    fixed_ip: str | None = None
    tag: fields.Tag | None = None


class WantedDisk(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of block_device_mapping_v2."""

    source_type: Literal["volume", "image", "snapshot", "blank"] | None = None
    destination_type: Literal["local", "volume"] | None = None
    uuid: Short | None = None
    image_id: fields.Uuid | None = None
    volume_id: fields.Uuid | None = None
    snapshot_id: fields.Uuid | None = None
    volume_size: fields.Count | None = None
    boot_index: Index = None
    guest_format: Short | None = None
    device_name: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9._/-]*\Z")] | None = None
    device_type: Short | None = None
    disk_bus: Short | None = None
    delete_on_termination: fields.Flag | None = None
    no_device: Any = None
    virtual_name: Short | None = None
    connection_info: str | None = None
    tag: fields.Tag | None = None
    volume_type: Short | None = None


class WantedGroup(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A security group, by name or id."""

    name: fields.Name


class NewServer(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /servers."""

    name: fields.Name
    flavor_ref: Annotated[str, Meta(min_length=1)] | int = msgspec.field(name="flavorRef")
    networks: list[WantedNic] | Literal["auto", "none"]
    image_ref: fields.UuidOrNone = msgspec.field(name="imageRef", default="")
    admin_pass: str | None = msgspec.field(name="adminPass", default=None)
    metadata: fields.Metadata = {}
    disk_config: fields.DiskConfig = msgspec.field(name="OS-DCF:diskConfig", default="MANUAL")
    access_ip_v4: str = msgspec.field(name="accessIPv4", default="")
    access_ip_v6: str = msgspec.field(name="accessIPv6", default="")
    availability_zone: fields.Name | None = None
    block_device_mapping: list[WantedDisk] = []
    block_device_mapping_v2: list[WantedDisk] = []
    config_drive: fields.Flag = False
    key_name: fields.Name | None = None
    min_count: fields.Count = 1
    max_count: fields.Count | None = None
    return_reservation_id: fields.Flag = False
    security_groups: list[WantedGroup] | None = None
    user_data: fields.UserData | None = None
    description: fields.Description | None = None
    tags: Annotated[list[fields.Tag], Meta(max_length=50)] = []
    trusted_image_certificates: Certificates | None = None
    host: fields.HostName | None = None
    hypervisor_hostname: fields.HostName | None = None
    hostname: fields.HostName | None = None


class CreateServer(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /servers, with hints for the scheduler beside the server."""

    server: NewServer
    hints: dict[str, Any] = msgspec.field(name="os:scheduler_hints", default={})
    old_hints: dict[str, Any] = msgspec.field(name="OS-SCH-HNT:scheduler_hints", default={})


class ServerChanges(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /servers/{server_id}; what is unset stays as it is."""

    name: fields.Name | msgspec.UnsetType = msgspec.UNSET
    description: fields.Description | msgspec.UnsetType | None = msgspec.UNSET
    disk_config: fields.DiskConfig | msgspec.UnsetType = msgspec.field(name="OS-DCF:diskConfig", default=msgspec.UNSET)
    access_ip_v4: str | msgspec.UnsetType = msgspec.field(name="accessIPv4", default=msgspec.UNSET)
    access_ip_v6: str | msgspec.UnsetType = msgspec.field(name="accessIPv6", default=msgspec.UNSET)
    hostname: fields.HostName | msgspec.UnsetType = msgspec.UNSET
    requested_zone: fields.Name | msgspec.UnsetType | None = msgspec.field(name="pinned_availability_zone", default=msgspec.UNSET)


class UpdateServer(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /servers/{server_id}."""

    server: ServerChanges


class PersonalityFile(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file for the guest (below 2.57)."""

    path: Annotated[str, Meta(max_length=255)]
    contents: str
