"""Load nftables text as one transaction, in the namespace of the calling thread."""

import subprocess

from pileus.model.errors import NodeFailed
from pileus.node.network import namespaces

TIMEOUT = 20.0
TABLE = "pileus"


def load(text: str) -> None:
    """Load the text or change nothing."""
    try:
        done = subprocess.run(["nft", "-f", "-"], input=text, text=True, capture_output=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError:
        raise NodeFailed("nft is missing. Install it with: apt install nftables") from None
    except subprocess.TimeoutExpired:
        raise NodeFailed("nft did not answer.") from None
    if done.returncode != 0:
        raise NodeFailed(f"nft refused the rules: {done.stderr.strip()[:500]}")


def table_exists(family: str, name: str) -> bool:
    """Whether the table is there."""
    done = subprocess.run(["nft", "-t", "list", "table", family, name], capture_output=True, timeout=TIMEOUT, check=False)
    return done.returncode == 0


def is_filtered(namespace: str) -> bool:
    """Whether both our tables are loaded in a namespace; true of one that is gone."""
    try:
        return namespaces.inside(namespace, lambda: table_exists("inet", TABLE) and table_exists("bridge", TABLE))
    except NodeFailed:
        return True
