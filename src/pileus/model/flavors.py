"""A flavor: the size of a server."""

from pileus.model.base import Resource
from pileus.model.servers import ServerFlavor


class Flavor(Resource, frozen=True, kw_only=True):
    """A flavor; `id` is what the API calls the flavor's id. A flavor that is not public is for the projects that were given access."""

    name: str
    ram: int  # MiB
    vcpus: int
    disk: int  # GiB; 0: the image's own size
    ephemeral: int = 0  # GiB
    swap: int = 0  # MiB
    rxtx_factor: float = 1.0
    is_public: bool = True
    disabled: bool = False
    description: str | None = None
    extra_specs: dict[str, str] = {}

    def frozen(self) -> ServerFlavor:
        """The flavor as a server keeps it."""
        return ServerFlavor(
            id=self.id,
            name=self.name,
            vcpus=self.vcpus,
            ram=self.ram,
            disk=self.disk,
            ephemeral=self.ephemeral,
            swap=self.swap,
            extra_specs=self.extra_specs,
            description=self.description,
        )
