"""Key pairs of the type x509: a certificate in the place of an ssh key."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pileus.model.errors import Invalid

YEARS = 10


def self_signed(key: rsa.RSAPrivateKey, user: str) -> str:
    """A client certificate of the key, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user[:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint(text: str) -> str:
    """The SHA-1 fingerprint of a certificate in PEM, in hex: the form that clients know."""
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise Invalid(
            "Keypair data is invalid: failed to generate X509 fingerprint; it is not a certificate in PEM.", field="public_key"
        ) from error
    return certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303
