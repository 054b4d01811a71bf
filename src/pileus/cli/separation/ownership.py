"""Whose which file of a separated cloud is, and how a command of root's writes what is the other process's own."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pileus.api.image.signatures import CERTIFICATES
from pileus.cli.separation import kernel
from pileus.cli.separation.sandbox import WRITTEN
from pileus.config import Config

FIRST_USER = 2_100_000_000
"""Above guests' user ids (node/hypervisor/confinement.py); one for each tag that a cloud may have."""
TAGS = 1 << 16
MOUNT = "sandbox"
ROOTS_OWN = ("database", "fencing.json")
"""Files of `secrets` that the other process has no need of: passwords of the database and of hosts' boards."""
DAC_READ_SEARCH = 2


def user_of(config: Config) -> int:
    """The user id, and group id, of the process that parses requests; where it shares `images` with others of its cloud, theirs."""
    own = FIRST_USER + int(config.tag, 16)
    images = config.directory / "images"
    if config.bus is None or not (images.is_symlink() or images.is_mount()):
        return own
    group = images.stat().st_gid if images.exists() else 0  # of a directory of root's: nobody else can change it
    return group if FIRST_USER <= group < FIRST_USER + TAGS else own


def bus_user_of(config: Config) -> int:
    """The user id, and group id, of the message bus's server of `up --hosts`."""
    return FIRST_USER + TAGS + int(config.tag, 16)


def hand_over(config: Config) -> None:
    """Give the other process what is its own, also where an older version, or a command of root, has made it. Twice: the same.

    The directories stay root's, so that none can be put in another's place; the state directory lets everybody's files be.
    """
    user = user_of(config)
    directory = config.directory
    for name, mode in {"": 0o1771, **dict.fromkeys(WRITTEN, 0o770), "images": 0o771, "log": 0o1770}.items():
        folder = directory / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, -1, user)
        folder.chmod(mode)
    _, *stores = config.image_stores.values()
    for folder in stores:
        os.chown(folder, -1, user)
        folder.chmod(0o771)
    if config.bus is None:
        (directory / "node").mkdir(mode=0o711, exist_ok=True)
    (directory / MOUNT).mkdir(mode=0o700, exist_ok=True)
    if config.snapshots.is_symlink():
        config.snapshots.unlink()
    config.snapshots.mkdir(mode=0o700, exist_ok=True)
    for path in (*directory.glob("pileus.db*"), *directory.glob("log/audit.log*"), *directory.glob("backups/*")):
        _give(path, user)
    for folder in (directory / "secrets", directory / "images", *(one / ".uploads" for one in stores)):
        for root, folders, files in os.walk(folder):
            if CERTIFICATES in folders:
                folders.remove(CERTIFICATES)  # whose signatures are believed stays root's to say
            for name in (*folders, *files):
                if name in ROOTS_OWN and root == str(directory / "secrets"):
                    continue
                if root != str(directory / "images") or name.startswith("."):  # image content is read by all and written by nobody
                    _give(Path(root, name), user)


def take_back(config: Config) -> None:
    """Mark that there is no other process: commands of root write as root again. Its files may stay: root reads and replaces them."""
    secrets = config.directory / "secrets"
    if secrets.is_dir():
        os.chown(secrets, -1, 0)


def _give(path: Path, user: int) -> None:
    """Never what has a second name elsewhere, nor what a link points to: the other process may have made those."""
    about = path.lstat()
    if about.st_uid != user and (stat.S_ISDIR(about.st_mode) or (stat.S_ISREG(about.st_mode) and about.st_nlink == 1)):
        os.chown(path, user, user, follow_symlinks=False)


@contextlib.contextmanager
def as_its_user(config: Config) -> Iterator[None]:
    """For a command of root: write what the other process owns with that process's rights, so that its links lead nowhere else.

    All may be read: the program may lie where only root finds it.
    """
    owner = user_of(config)
    if os.geteuid() != 0 or not _is_apart(config, owner):
        yield
        return
    os.setegid(owner)
    os.seteuid(owner)
    kernel.set_capabilities((DAC_READ_SEARCH,), later=True)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _is_apart(config: Config, user: int) -> bool:
    """Whether the records, or on PostgreSQL the secrets, are the other process's."""
    try:
        if config.database is None:
            return (config.directory / "pileus.db").lstat().st_uid == user
        return (config.directory / "secrets").lstat().st_gid == user
    except OSError:
        return False
