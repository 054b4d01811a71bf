"""Certificates for one move: an authority that signs two of them, is thrown away, and is trusted by nobody else."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pileus.model.base import Model
from pileus.model.moves import MoveKeys

VALID = datetime.timedelta(days=1)
SKEW = datetime.timedelta(minutes=15)  # of the hosts' clocks


class BothKeys(Model, frozen=True, kw_only=True):
    """The keys of both sides of a move, and the name in the destination's certificate."""

    source: MoveKeys
    destination: MoveKeys
    name: str

    def __repr__(self) -> str:
        return "BothKeys(...)"  # never in a log


def make_keys(migration_id: str, now: float) -> BothKeys:
    """Fresh keys for a move; the authority's own key is forgotten at once."""
    begins = datetime.datetime.fromtimestamp(now, datetime.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"move {migration_id}")
    authority = _signed(
        _builder(name, name, key, begins)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True),
        key,
    )
    pem = authority.public_bytes(serialization.Encoding.PEM).decode()
    sides = {side: _side(f"{side}-{migration_id}", name, key, begins, pem) for side in ("source", "destination")}
    return BothKeys(**sides, name=f"destination-{migration_id}")


def _side(name: str, issuer: x509.Name, signer: ec.EllipticCurvePrivateKey, begins: datetime.datetime, authority: str) -> MoveKeys:
    key = ec.generate_private_key(ec.SECP256R1())
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = _signed(
        _builder(_name(name), issuer, key, begins)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(uses, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False),
        signer,
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return MoveKeys(authority=authority, certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(), key=private.decode())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begins: datetime.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - SKEW)
        .not_valid_after(begins + VALID)
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
