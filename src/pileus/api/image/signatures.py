"""Signatures of images: what comes in must be what its owner has signed, by a certificate that operators trust.

The four properties are Glance's; an image without them is not looked at. The certificates lie in the image directory as
`.certificates/ID.pem` (`pileus image certificate add`), for there is no key manager here that could be asked for them.
"""

import base64
import binascii
import hashlib
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from pileus import clock
from pileus.api.image.files import BLOCK, Digest
from pileus.model.errors import Invalid

CERTIFICATES = ".certificates"
SIGNATURE, METHOD, KIND, CERTIFICATE = (
    "img_signature",
    "img_signature_hash_method",
    "img_signature_key_type",
    "img_signature_certificate_uuid",
)
METHODS: dict[str, type[hashes.HashAlgorithm]] = {
    "SHA-224": hashes.SHA224,
    "SHA-256": hashes.SHA256,
    "SHA-384": hashes.SHA384,
    "SHA-512": hashes.SHA512,
}
CURVES = {"ECC_SECP384R1": "secp384r1", "ECC_SECP521R1": "secp521r1"}
KINDS = ("RSA-PSS", "DSA", *CURVES)
LONGEST = 1 << 16


def claimed(properties: dict[str, str]) -> bool:
    """Whether an image says that it is signed."""
    return any(properties.get(name) for name in (SIGNATURE, METHOD, KIND, CERTIFICATE))


def refuse_elsewhere(properties: dict[str, str]) -> None:
    """Invalid for a signed image whose content is to stay in the web: nobody would have verified what is read there."""
    if claimed(properties):
        raise Invalid("A signed image is verified when its content comes in: upload or import it; its content can't stay in the web.")


def verify(directory: Path, properties: dict[str, str], path: Path, found: Digest) -> None:
    """Compare a finished file with the signature in its image's properties, where there is one. Blocks. Invalid when it does not fit."""
    given = [name for name in (SIGNATURE, METHOD, KIND, CERTIFICATE) if properties.get(name)]
    if not given:
        return
    if len(given) < 4:
        raise Invalid(f"The image's signature can't be verified: it needs all of {SIGNATURE}, {METHOD}, {KIND} and {CERTIFICATE}.")
    method, kind = properties[METHOD], properties[KIND]
    if method not in METHODS or kind not in KINDS:
        raise Invalid(
            f"The image's signature can't be verified: {METHOD} must be one of {', '.join(METHODS)}, {KIND} one of {', '.join(KINDS)}."
        )
    try:
        signature = base64.b64decode(properties[SIGNATURE], validate=False)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"The image's signature can't be verified: {SIGNATURE} is not base64.") from error
    certificate = _certificate(directory, properties[CERTIFICATE])
    try:
        _verify(certificate, kind, signature, _hash(path, method, found), METHODS[method]())
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise Invalid(
            "Signature verification for the image failed: its content is not what was signed by the key of the certificate "
            f"{properties[CERTIFICATE]}. What an import unpacks or converts is other content: sign that, or upload the image as it is."
        ) from error


def _hash(path: Path, method: str, found: Digest) -> bytes:
    if method in ("SHA-256", "SHA-512"):
        return bytes.fromhex(found.sha256 if method == "SHA-256" else found.sha512)
    counted = hashlib.new(method.replace("-", ""))
    with path.open("rb", buffering=0) as file:
        while data := file.read(BLOCK):
            counted.update(data)
    return counted.digest()


def _certificate(directory: Path, key: str) -> x509.Certificate:
    """The certificate of that id, while it is valid."""
    try:
        name = str(uuid.UUID(key))
    except ValueError as error:
        raise Invalid(f"{CERTIFICATE} {key[:100]!r} is no UUID.") from error
    try:
        with (directory / CERTIFICATES / f"{name}.pem").open("rb") as file:
            found = x509.load_pem_x509_certificate(file.read(LONGEST))
    except FileNotFoundError as error:
        raise Invalid(
            f"The image's signature can't be verified: there is no certificate {name}. An operator adds it: pileus image certificate add."
        ) from error
    except ValueError as error:
        raise Invalid(f"The certificate {name} can't be read: {error}.") from error
    now = datetime.fromtimestamp(clock.now(), UTC)
    if not found.not_valid_before_utc <= now <= found.not_valid_after_utc:
        raise Invalid(f"The certificate {name} is not valid now, but from {found.not_valid_before_utc} to {found.not_valid_after_utc}.")
    return found


def _verify(certificate: x509.Certificate, kind: str, signature: bytes, digest: bytes, method: hashes.HashAlgorithm) -> None:
    """InvalidSignature, or an error that says why it could not be looked at."""
    key = certificate.public_key()
    if kind == "RSA-PSS" and isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, digest, padding.PSS(padding.MGF1(method), padding.PSS.AUTO), Prehashed(method))
    elif kind == "DSA" and isinstance(key, dsa.DSAPublicKey):
        key.verify(signature, digest, Prehashed(method))
    elif kind in CURVES and isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == CURVES[kind]:
        key.verify(signature, digest, ec.ECDSA(Prehashed(method)))
    else:
        raise ValueError("the certificate's key is of another kind")
