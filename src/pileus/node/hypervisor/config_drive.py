"""Writes a guest's config drive: its metadata documents as an ISO 9660 image labelled config-2, as cloud-init looks for it."""

import os
import time
from pathlib import Path

from pileus.core.iso9660 import iso9660

LABEL = "config-2"


def write_config_drive(path: Path, metadata: dict[str, str], group: int | None) -> None:
    """Replace the image at `path`. It holds secrets, so none but the guest's own group may read it.

    Text that came from bytes that were not UTF-8 (user data may be compressed) carries them as surrogate escapes.
    """
    files = {name: text.encode("utf-8", "surrogateescape") for name, text in metadata.items()}
    content = iso9660(files, LABEL, time.gmtime()[:6])
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440)
    with os.fdopen(descriptor, "wb") as file:
        if group is not None:
            os.fchown(descriptor, 0, group)
        file.write(content)
    partial.rename(path)
