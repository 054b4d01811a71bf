"""Images of another OpenStack cloud, by its entry in clouds.yaml: `cloud:NAME/IMAGE`."""

from collections.abc import Iterator
from typing import Any

from pileus.cli.bring.sources import BLOCK, Disk, after
from pileus.model.errors import Invalid, NotFound, Unavailable

TAKEN_OVER = ("hw_", "os_distro", "os_type", "os_version", "os_secure_boot", "architecture", "img_signature")
"""Beginnings of the names of properties that mean the same in every cloud."""


def connected(name: str | None) -> Any:
    """A connection of the official library, by an entry of clouds.yaml, or by the variables OS_... ."""
    try:
        import openstack
        from keystoneauth1.exceptions import ClientException
        from openstack.exceptions import SDKException
    except ImportError as error:
        raise Unavailable("The official client's library is missing: pip install 'pileus[client]'.") from error
    try:
        connection = openstack.connect(cloud=name)
        connection.authorize()
    except (SDKException, ClientException) as error:
        raise Unavailable(f"The cloud {name or 'of the variables OS_...'} does not let you in: {error}") from error
    return connection


def disk(text: str) -> Disk:
    """An image of the other cloud."""
    name, slash, wanted = text.partition("/")
    if not (name and slash and wanted):
        raise Invalid(f"cloud:{text}: expected cloud:NAME/IMAGE, NAME being an entry of clouds.yaml.")
    service = connected(name).image
    image = service.find_image(wanted)
    if image is None:
        raise NotFound(f"The cloud {name} has no image {wanted} that you see.")
    if image.status != "active" or not image.disk_format:
        raise Invalid(f"The image {wanted} of the cloud {name} has status {image.status}: it has no content to be copied.")
    whole = service.get(f"/images/{image.id}").json()
    properties = {key: value for key, value in whole.items() if key.startswith(TAKEN_OVER) and isinstance(value, str)}

    def chunks(offset: int) -> Iterator[bytes]:
        headers = {"Accept": "application/octet-stream", **({"Range": f"bytes={offset}-"} if offset else {})}
        with service.get(f"/images/{image.id}/file", headers=headers, stream=True, raise_exc=False) as answer:
            if answer.status_code not in (200, 206):
                raise Unavailable(f"The cloud {name} does not give the image out: {answer.status_code} {answer.reason}.")
            yield from after(answer.iter_content(BLOCK), offset if answer.status_code == 200 else 0)

    return Disk(
        whole.get("name") or image.id,
        image.disk_format,
        image.container_format or "bare",
        chunks,
        whole.get("size"),
        whole.get("min_disk", 0),
        whole.get("min_ram", 0),
        properties,
        whole.get("os_hash_value") if whole.get("os_hash_algo") == "sha512" else None,
    )
