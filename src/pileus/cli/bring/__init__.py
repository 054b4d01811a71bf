"""`pileus image import SOURCE`: brings images in from elsewhere, through the Image API like every client.

`sources.py` finds what SOURCE names (files and the web itself), `clouds.py`, `libvirt.py` and `proxmox.py` are the other kinds;
each gives the disks that it found, to be read from any offset. `recognize.py` says what their bytes are. `target.py` is the cloud that
gets them: create, stage (going on after a broken connection), import, remove. `steps.py` does it all, and leaves nothing when it fails.
Called by `cli/image.py`, in the user's process: it may start programs (virsh, zstd), which the service may not.
"""
