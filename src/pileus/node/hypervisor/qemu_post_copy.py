"""Whether a guest's QEMU can fetch memory that it misses while the guest runs: tried, as kernels let only some users do it."""

import json
import subprocess

from pileus.core.qemu_argv import SANDBOX
from pileus.node.hypervisor.confinement import FIRST_UID, Confinement

_COMMANDS = [
    {"execute": "qmp_capabilities"},
    {"execute": "migrate-set-capabilities", "arguments": {"capabilities": [{"capability": "postcopy-ram", "state": True}]}},
    {"execute": "quit"},
]
_SECONDS = 20.0


def post_copy_works(binary: str, confinement: Confinement) -> bool:
    """A QEMU without a machine, confined as guests are, is asked. A twentieth of a second."""
    user = FIRST_UID if confinement.privileged else None
    argv = [*confinement.prefix(user), binary, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S"]
    argv += ["-incoming", "defer", "-qmp", "stdio", "-sandbox", SANDBOX]
    asked = "".join(json.dumps(one) + "\n" for one in _COMMANDS)
    try:
        done = subprocess.run(argv, input=asked, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return '"return"' in done.stdout and '"error"' not in done.stdout
