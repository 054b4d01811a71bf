"""Builds the small Linux guest image (DESIGN.md 12) from the host distribution's own packages, without root.

`build.build()` is what others call: the first start of a cloud, `pileus image build`, and the probe of accelerators, which boots the
image's kernel and initramfs directly. `files/` holds what makes the guest behave as a cloud image does: its init, network,
metadata and hot-plug scripts for busybox's shell.

Nothing here imports another part of pileus, touches the running host's devices or mounts, or needs root: packages are
fetched and unpacked into a private directory, and file systems are written as files.
"""
