"""What may be done about a breach without losing anything that a user owns: small descriptions, carried out by `store/repairs.py`."""

from typing import Any

from pileus.model.base import Model
from pileus.model.image_stores import LOCAL


class DeleteRow(Model, frozen=True, kw_only=True, tag=True):
    """Delete a row that nothing but a vanished thing gave a meaning. `key` names the row: (column, value) pairs."""

    table: str
    key: tuple[tuple[str, Any], ...]
    why: str

    def sentence(self) -> str:
        """What it does."""
        words = ", ".join(f"{column} {value}" for column, value in self.key)
        return f"delete the row of {self.table} with {words}: {self.why}"


class ClearColumn(Model, frozen=True, kw_only=True, tag=True):
    """Empty a column that names what is not there (any more), or that should have been emptied. `seen`: only while it still says so."""

    table: str
    id: str
    column: str
    seen: str

    def sentence(self) -> str:
        """What it does."""
        return f"empty {self.column} of {self.table} {self.id}"


class ReleaseAllocations(Model, frozen=True, kw_only=True, tag=True):
    """Give back all that a consumer holds which is gone."""

    consumer_id: str

    def sentence(self) -> str:
        """What it does."""
        return f"give back what consumer {self.consumer_id}, which is gone, holds in Placement"


class CountUsage(Model, frozen=True, kw_only=True, tag=True):
    """Count a provider's use anew, from its allocations."""

    provider_id: str

    def sentence(self) -> str:
        """What it does."""
        return f"count the use of provider {self.provider_id} anew from its allocations"


class RaiseEpoch(Model, frozen=True, kw_only=True, tag=True):
    """Bring Placement's epoch above that of every provider."""

    def sentence(self) -> str:
        """What it does."""
        return "raise Placement's epoch to that of its newest provider"


class JoinAggregate(Model, frozen=True, kw_only=True, tag=True):
    """Have a host's provider be in an aggregate, or not, as the aggregate itself says."""

    host: str
    aggregate_id: str
    member: bool

    def sentence(self) -> str:
        """What it does."""
        words = ("put", "into") if self.member else ("take", "out of")
        return f"{words[0]} the provider of host {self.host} {words[1]} aggregate {self.aggregate_id}"


class LeaveAggregate(Model, frozen=True, kw_only=True, tag=True):
    """Take a host that is gone out of an aggregate."""

    aggregate_id: str
    host: str

    def sentence(self) -> str:
        """What it does."""
        return f"take host {self.host}, which is gone, out of aggregate {self.aggregate_id}"


class ForgetRole(Model, frozen=True, kw_only=True, tag=True):
    """Take a role that is gone out of an application credential, which gives it to nobody any more."""

    credential_id: str
    role_id: str

    def sentence(self) -> str:
        """What it does."""
        return f"take role {self.role_id}, which is gone, out of application credential {self.credential_id}"


class Rederive(Model, frozen=True, kw_only=True, tag=True):
    """Write anew what follows from the rest of a server's row."""

    server_id: str

    def sentence(self) -> str:
        """What it does."""
        return f"derive the states of server {self.server_id} anew from its row"


class TakeAddress(Model, frozen=True, kw_only=True, tag=True):
    """Keep an address that a port has from being given to another."""

    port_id: str
    subnet_id: str
    ip_address: str

    def sentence(self) -> str:
        """What it does."""
        return f"record that address {self.ip_address} of subnet {self.subnet_id} is in use by port {self.port_id}, which has it"


class ReleaseAddress(Model, frozen=True, kw_only=True, tag=True):
    """Free an address that no port has."""

    subnet_id: str
    ip_address: str
    port_id: str

    def sentence(self) -> str:
        """What it does."""
        return f"free address {self.ip_address} of subnet {self.subnet_id}, which port {self.port_id} does not have"


class WriteMembership(Model, frozen=True, kw_only=True, tag=True):
    """Write anew which security groups a port is in, from the port's row."""

    port_id: str

    def sentence(self) -> str:
        """What it does."""
        return f"write the security groups of port {self.port_id} anew into their index"


class IndexTags(Model, frozen=True, kw_only=True, tag=True):
    """Write a network resource's tags anew into their index, from the resource's row."""

    resource_id: str
    tags: tuple[str, ...]

    def sentence(self) -> str:
        """What it does."""
        return f"write the tags of {self.resource_id} anew into their index"


class IndexImage(Model, frozen=True, kw_only=True, tag=True):
    """Write an image's tags and properties anew into their indexes, from the image's row."""

    image_id: str

    def sentence(self) -> str:
        """What it does."""
        return f"write the tags and properties of image {self.image_id} anew into their indexes"


class RemoveContent(Model, frozen=True, kw_only=True, tag=True):
    """Remove a content file that no image has; it is looked at again, under the lock of who names contents."""

    content: str
    store: str = LOCAL

    def sentence(self) -> str:
        """What it does."""
        place = f"images/{self.content}" if self.store == LOCAL else f"{self.content} of the image store {self.store}"
        return f"remove the file {place}, which no image has"


StoreRepair = (
    DeleteRow | ClearColumn | ReleaseAllocations | CountUsage | RaiseEpoch | JoinAggregate | LeaveAggregate | ForgetRole | Rederive
    | TakeAddress | ReleaseAddress | WriteMembership | IndexTags | IndexImage
)  # fmt: skip
"""What one transaction of the store does."""
Repair = StoreRepair | RemoveContent
