"""What is on a disk that lies in a file of some format, for conversions on import.

One file for each family of formats; each has a function that takes `read(offset, length)` and gives the disk's size with its pieces:
(offset on the disk, bytes), in ascending order, everything else being zero. `qcow2_writer.py` goes the other way.
Called by `api/image/unpacking.py`, in a thread, with files that `core/image_formats` has accepted. They open nothing and start no program:
who parses requests may not (ADR 0019). Tables are read a part at a time, so that memory is bounded whatever a header says.
"""

from pileus.core.disk_readers.microsoft import vhd, vhdx
from pileus.core.disk_readers.pieces import Disk, Read, raw
from pileus.core.disk_readers.qcow2 import qcow2
from pileus.core.disk_readers.vdi import vdi
from pileus.core.disk_readers.vmdk import vmdk

READERS = {"raw": raw, "qcow2": qcow2, "vmdk": vmdk, "vdi": vdi, "vhd": vhd, "vhdx": vhdx}

__all__ = ["READERS", "Disk", "Read"]
