"""Answers for the `openstack` command with its modules loaded already: its tests call it a thousand times, and each start takes seconds.

    python warm_client.py SOCKET

Runs in the suites' environment, and needs nothing of pileus. Each call is a process of its own, forked, with the caller's arguments,
environment, directory and files: what runs is the client itself. `CALL` is the program that stands for `openstack` meanwhile.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import traceback

CALL = """#!{python} -SE
import json, os, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({path!r})
asked = {{"arguments": sys.argv[1:], "environment": dict(os.environ), "directory": os.getcwd()}}
socket.send_fds(link, [json.dumps(asked).encode() + b"\\n"], [0, 1, 2])
answer = link.recv(100)
sys.exit(json.loads(answer) if answer else 1)
"""
LOADED = ("openstackclient.identity.v3", "openstackclient.image.v2", "openstackclient.common", "osc_lib.command", "cliff.formatters")
MOST = 1 << 20


def load() -> None:
    """Import what the commands need."""
    importlib.import_module("openstackclient.shell")
    for name in LOADED:
        package = importlib.import_module(name)
        for one in pkgutil.iter_modules(package.__path__):
            with contextlib.suppress(ImportError):
                importlib.import_module(f"{name}.{one.name}")
    for name in ("openstack.connection", "keystoneclient.v3.client", "keystoneauth1.loading"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def answer(link: socket.socket) -> None:
    """One call, in the process that was forked for it."""
    data, files, _, _ = socket.recv_fds(link, MOST, 3)
    while not data.endswith(b"\n"):
        data += link.recv(MOST)
    asked = json.loads(data)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(asked["directory"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["openstack", *asked["arguments"]]
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    code: object = 1
    try:
        code = importlib.import_module("openstackclient.shell").main(asked["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        link.sendall(json.dumps(code or 0).encode())


def main(path: str) -> None:
    """Serve until we are stopped."""
    load()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(32)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            answer(link)
            os._exit(0)
        link.close()


if __name__ == "__main__":
    main(sys.argv[1])
