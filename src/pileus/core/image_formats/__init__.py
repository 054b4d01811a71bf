"""What the bytes of an image are, before anything trusts them.

`inspector.py` is fed the chunks of an upload and keeps only what it needs (the head, the tail, one region between), `check.py` compares
what was found with what the image claims to be and says why it is refused. One file for each family of formats: `qcow2.py`,
`vmdk.py`, `microsoft.py` (VHD, VHDX), `others.py` (VDI, ISO, LUKS, ploop, archives).
Called by `api/image/content.py`, in a thread. Pure: it opens nothing, it never follows a name that it finds.
An image which names another file (backing, data, extent, parent) is refused: it would make a host read what is not the tenant's.
"""

from pileus.core.image_formats.check import check
from pileus.core.image_formats.inspector import Inspector
from pileus.core.image_formats.sample import Finding, Sample

__all__ = ["Finding", "Inspector", "Sample", "check"]
