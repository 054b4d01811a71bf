"""Storage drivers: disks of guests on this host.

`local` keeps qcow2 overlays over a directory of base images named by their content's hash. Called by hypervisor drivers and the agent.
Long work (qemu-img) runs as child processes, never on the event loop.
"""
