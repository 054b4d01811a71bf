"""The image of a new or rebuilt server: may it be used, does the flavor suffice, what of it does the server keep."""

from typing import Any

from pileus.api.request import Request
from pileus.model.errors import Invalid
from pileus.model.flavors import Flavor
from pileus.model.images import Image, ImageStatus
from pileus.model.servers import ServerFlavor
from pileus.store import images

GIB = 1 << 30


async def usable_image(request: Request, image_id: str, flavor: Flavor | ServerFlavor) -> Image:
    """The image, when the caller may see it, it is active, and the flavor is large enough for it."""
    image = await images.visible(request.cloud.db, image_id, request.identity)
    if image is None:
        raise Invalid(f"Can not find requested image {image_id}.", field="imageRef")
    if image.status != ImageStatus.ACTIVE:
        raise Invalid(f"Image {image_id} is not active.", field="imageRef")
    if image.content is None and image.locations:
        raise Invalid(
            f"The content of image {image_id} lies at an address of the web; a server needs it in a store: openstack image import "
            f"--method copy-image --store local {image_id}", field="imageRef",
        )  # fmt: skip
    if image.min_ram > flavor.ram:
        raise Invalid(f"Flavor's memory is too small for requested image: {flavor.ram} MiB, the image needs {image.min_ram} MiB.")
    if flavor.disk:
        if image.min_disk > flavor.disk:
            raise Invalid(f"Flavor's disk is too small for requested image: {flavor.disk} GiB, the image needs {image.min_disk} GiB.")
        size = image.virtual_size or image.size or 0
        if size > flavor.disk * GIB:
            raise Invalid(f"Flavor's disk is too small for requested image: {flavor.disk} GiB, the image has {size} bytes.")
    return image


def remembered(image: Image) -> dict[str, Any]:
    """What a server keeps of its image."""
    return {
        "name": image.name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "content": image.content,
        **({"flaw": image.flaw} if image.flaw else {}),
        "size": image.size,
        "virtual_size": image.virtual_size,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "properties": image.properties,
    }
