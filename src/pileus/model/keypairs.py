"""A keypair: a public key that a user puts into servers."""

from pileus.model.base import Resource


class Keypair(Resource, frozen=True, kw_only=True):
    """A user's key. `type` is ssh or x509; `fingerprint` pairs of hex digits with colons; `number` is Nova's old integer id."""

    number: int
    user_id: str
    name: str
    type: str = "ssh"
    public_key: str
    fingerprint: str
