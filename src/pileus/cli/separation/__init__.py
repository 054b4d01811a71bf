"""A real cloud started by root as two processes: one that is root, and one that parses requests and may do nothing to it. ADR 0016.

`root_process` is what root's does: whether it can be so, and to end with the other. `child` is the other process as root's sees it: its
order, its start, its end. `ownership` says whose which file is. `enclosed_process` is the other one itself, a program of its own (`-m`);
before it reads the first byte of anybody it does to itself what is in `sandbox` and `syscall_filter`. `kernel` has the system calls that
Python has no function for. Called by `serve`, and by commands of root that write what the other process owns. What is here decides
nothing about servers, networks or users.
"""
