"""Where the content of images lies: the stores of a cloud, as its settings name them, and addresses of the web."""

from pileus.model.base import Model

LOCAL = "local"
"""The store that every cloud has: `DIR/images`. What is uploaded goes there, unless another is asked for."""
WEB = "web"
"""The store of what lies elsewhere: read-only, its content stays at an address of the web."""


class ImageStore(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store: a directory, on a disk of its own for instance. Of two that have an image, the heavier is read. `encrypted`: what is written
    there from now on is encrypted; what is there stays as it is."""

    path: str = ""
    weight: int = 0
    description: str = ""
    encrypted: bool = False


class ImageSettings(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may say of images beyond their size: `stores` by name, beside (or of) `local`; `web_store`: images may stay at an
    address of the web; `show_multiple_locations`: owners see and change an image's locations by PATCH; `do_secure_hash`: what stays in the
    web is read once, and counted, before it becomes an image; `require_format_match`: an upload that is not what its formats say, or that
    names other files, is refused, else it is taken and no server can be made of it."""

    stores: dict[str, ImageStore] = {}
    web_store: bool = False
    show_multiple_locations: bool = False
    do_secure_hash: bool = True
    require_format_match: bool = True


class ImageLocation(Model, frozen=True, kw_only=True):
    """An address of the web where an image's content lies, with what its owner noted of it."""

    url: str
    metadata: dict[str, str] = {}


IMPORTING, FAILED = "os_glance_importing_to_stores", "os_glance_failed_import"
"""Properties that say of an import which stores it has yet to fill, and which it could not."""
