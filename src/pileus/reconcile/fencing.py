"""Fencing: a host that does not answer is made to run nothing, and that is made sure of, before any of its servers starts elsewhere."""

import asyncio
import base64
import contextlib
import json
import os
import shlex
import signal
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pileus.core.availability import Fence
from pileus.model.errors import Unavailable

TIMEOUT = 60.0
"""Seconds for the whole."""
LOOK_EVERY = 1.0


async def fence(host: str, address: str, how: Fence, secrets: Path) -> str:
    """Make the host run nothing and see that it is so; says what was done. Unavailable, with the reason, when that is not certain."""
    drivers = {"command": _command, "ipmi": _ipmi, "redfish": _redfish}
    try:
        async with asyncio.timeout(TIMEOUT):
            return await drivers[how.kind](host, address, how, _password(host, secrets))
    except TimeoutError as error:
        raise Unavailable(f"Host {host} could not be fenced by {how.kind} within {TIMEOUT:g} s.") from error


async def _command(host: str, address: str, how: Fence, password: str) -> str:
    """Exit code 0 says: it runs nothing."""
    environment = {**os.environ, "PILEUS_HOST": host, "PILEUS_ADDRESS": address, "PILEUS_FENCE_PASSWORD": password}
    await _run(host, shlex.split(how.target), environment)
    return "the command says so"


async def _ipmi(host: str, address: str, how: Fence, password: str) -> str:
    board = urlsplit(f"//{how.target}")
    port = ["-p", str(board.port)] if board.port else []
    tool = ["ipmitool", "-I", "lanplus", "-H", str(board.hostname), *port, "-U", how.user, "-E", "chassis", "power"]
    environment = {**os.environ, "IPMI_PASSWORD": password}
    await _run(host, [*tool, "off"], environment)
    while "is off" not in await _run(host, [*tool, "status"], environment):  # noqa: ASYNC110 a board tells nothing by itself
        await asyncio.sleep(LOOK_EVERY)
    return "its board says that the power is off"


async def _redfish(host: str, address: str, how: Fence, password: str) -> str:
    base = f"https://{how.target}"
    word = base64.b64encode(f"{how.user}:{password}".encode()).decode()
    state = await asyncio.to_thread(_call, host, base, word, None)
    if state.get("PowerState") != "Off":
        await asyncio.to_thread(_call, host, f"{base}/Actions/ComputerSystem.Reset", word, {"ResetType": "ForceOff"})
    while (await asyncio.to_thread(_call, host, base, word, None)).get("PowerState") != "Off":  # noqa: ASYNC110
        await asyncio.sleep(LOOK_EVERY)
    return "its board says that the power is off"


async def _run(host: str, command: list[str], environment: dict[str, str]) -> str:
    starting = asyncio.ensure_future(_started(command, environment))
    try:
        process = await asyncio.shield(starting)  # who is cancelled while it starts must know it, to end all of it
        output = (await process.communicate())[0].decode(errors="replace")
    except OSError as error:
        raise Unavailable(f"Host {host} could not be fenced: {command[0]}: {error.strerror}.") from error
    except BaseException:
        await _killed(starting)
        raise
    if process.returncode:
        last = (output.strip().splitlines() or ["it said nothing"])[-1]
        raise Unavailable(f"Host {host} could not be fenced: {command[0]} ended with {process.returncode}: {last[:300]}")
    return output


async def _started(command: list[str], environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


async def _killed(starting: asyncio.Future[asyncio.subprocess.Process]) -> None:
    """End a command and what it has started."""
    with contextlib.suppress(OSError):
        process = await starting
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _call(host: str, url: str, word: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """Blocks. Boards have certificates of their own making: the address is the operator's word, and the network that of the boards."""
    import ssl
    import urllib.request

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Authorization": f"Basic {word}", "Content-Type": "application/json"})  # noqa: S310 https
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
            text = answer.read()
    except (OSError, ValueError) as error:
        raise Unavailable(f"Host {host} could not be fenced: its board: {error}") from error
    try:
        return dict(json.loads(text)) if text.strip() else {}
    except ValueError as error:
        raise Unavailable(f"Host {host} could not be fenced: its board does not speak Redfish.") from error


def _password(host: str, secrets: Path) -> str:
    """Of a file of this process's own user; where another may write in the directory, what it puts there is not believed."""
    file = secrets / "fencing.json"
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Unavailable(f"Host {host} could not be fenced: {file} can't be read: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as opened:
        about = os.fstat(descriptor)
        if about.st_uid != os.geteuid() or not stat.S_ISREG(about.st_mode):
            raise Unavailable(f"Host {host} could not be fenced: {file} is not this user's own file. Use chown, after a look at it.")
        try:
            found = json.loads(opened.read())
        except ValueError:
            return ""
    return str(found.get(host, found.get("*", ""))) if isinstance(found, dict) else ""
