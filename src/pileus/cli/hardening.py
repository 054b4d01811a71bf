"""What a process of the cloud does to itself before it holds a secret."""

import os
import resource


def harden() -> None:
    """No core files of it and its children: their memory has keys, and guests' memory. Files of its own are nobody else's to write."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(os.umask(0o022) | 0o022)
