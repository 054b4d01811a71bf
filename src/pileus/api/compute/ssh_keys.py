"""Public keys: what is accepted, their fingerprints, and new pairs."""

import base64
import binascii
import hashlib

from pileus.model.errors import Invalid

KINDS = frozenset(
    {
        "ssh-rsa", "ssh-dss", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)  # fmt: skip
BITS = 2048


def inspect(public_key: str, kind: str) -> tuple[str, str]:
    """(the key as it is kept, its fingerprint); Invalid when it is not a key of that kind."""
    if kind != "x509":
        return _ssh(public_key)
    from pileus.api.compute import certificates  # late: few use them, and X.509 costs 40 ms at every start

    return public_key, _colons(certificates.fingerprint(public_key))


def generate(kind: str, user: str) -> tuple[str, str]:
    """A new pair (private in PEM, public). Takes a while: call it in a thread."""
    from cryptography.hazmat.primitives import serialization  # late: these take 60 ms to import, and most users bring a key of their own
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8 if kind == "x509" else serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    if kind != "x509":
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return private, f"{public.decode()} generated"
    from pileus.api.compute import certificates

    return private, certificates.self_signed(key, user)


def _ssh(text: str) -> tuple[str, str]:
    words = text.strip().split(None, 2)
    reason = "Keypair data is invalid: "
    if "PRIVATE KEY" in text:
        raise Invalid(reason + "this is a private key; give the public one.", field="public_key")
    if len(words) < 2 or words[0] not in KINDS:
        raise Invalid(
            reason + "failed to generate fingerprint; an OpenSSH public key begins with its type, such as ssh-ed25519.", field="public_key"
        )
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(reason + "failed to generate fingerprint; the key is not base64.", field="public_key") from error
    kind = words[0].encode()
    if blob[:4] != len(kind).to_bytes(4, "big") or blob[4 : 4 + len(kind)] != kind or len(blob) < 4 + len(kind) + 4 + 32:
        raise Invalid(reason + "failed to generate fingerprint; the key is damaged or of another type than it says.", field="public_key")
    return text, _colons(hashlib.md5(blob, usedforsecurity=False).hexdigest())


def _colons(digest: str) -> str:
    return ":".join(digest[index : index + 2] for index in range(0, len(digest), 2))
