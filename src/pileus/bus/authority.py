"""Who may speak on a cloud's bus: the seeds that sign claims and the certificate authority of the bus's servers. Managers alone hold it."""

import datetime
import hmac
import ipaddress
import secrets
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pileus import clock
from pileus.bus import nkeys
from pileus.bus.connection import BusCredentials
from pileus.bus.subjects import Subjects
from pileus.core.nats_config import NatsServer
from pileus.model.base import Model
from pileus.model.errors import Invalid

YEARS = 10
CONTENT_LIFE = 6 * 3600
UNCHANGED = 1
"""When the operator's claims are said to be issued: a server that runs takes no configuration with others."""


class BusAuthority(Model, frozen=True, kw_only=True):
    """All that is secret about a cloud's bus. `cloud` is its name there; `content_key` signs addresses of images' content."""

    cloud: str
    operator: str
    account: str
    content_key: str
    ca_certificate: str
    ca_key: str

    def __repr__(self) -> str:
        return f"BusAuthority({self.cloud!r})"

    def manager(self, url: str, name: str, authority: str | None = None) -> BusCredentials:
        """Credentials of a process of the cloud or of a cluster. `authority`: who signs the server's certificate; None: we do."""
        seed = nkeys.new_seed("user")
        claims = nkeys.user_claims(self.account, nkeys.public_key(seed), name, int(clock.now()), Subjects(cloud=self.cloud).of_manager())
        trusted = self.ca_certificate if authority is None else authority
        return BusCredentials(url=url, cloud=self.cloud, claims=claims, seed=seed, authority=trusted if url.startswith("tls:") else "")

    def admit(self, host: str, public_key: str) -> str:
        """The claims of a host that keeps the seed of this public key to itself."""
        return nkeys.user_claims(self.account, nkeys.check_public(public_key, "user"), host, int(clock.now()), self._subjects.of_node(host))

    def server(self, listen: str, certificate: str, key: str, revoked: dict[str, int]) -> NatsServer:
        """What a NATS server of this cloud is configured with. `revoked`: public keys of hosts that were removed, and when."""
        now, account = int(clock.now()), nkeys.public_key(self.account)
        return NatsServer(
            listen=listen,
            operator=nkeys.operator_claims(self.operator, "pileus", UNCHANGED),
            account=account,
            account_claims=nkeys.account_claims(self.operator, account, self.cloud, now, revoked),
            certificate=certificate,
            key=key,
        )

    def certificate_for(self, names: list[str]) -> tuple[str, str]:
        """(certificate, key), PEM, of a bus server with these names or addresses."""
        return _certificate(names, x509.load_pem_x509_certificate(self.ca_certificate.encode()), _key(self.ca_key))

    def content_address(self, sha: str, now: float) -> str:
        """Path and query under which a host fetches an image's content, for some hours."""
        until = int(now) + CONTENT_LIFE
        return f"/cluster/v1/content/{sha}?until={until}&signature={self._signature(sha, until)}"

    def content_allowed(self, sha: str, until: str, signature: str, now: float) -> bool:
        """Whether such an address is ours and still good."""
        return self._allowed(sha, until, signature, now)

    def snapshot_address(self, image_id: str, now: float) -> str:
        """Path and query under which a host fills one image, for some hours."""
        until = int(now) + CONTENT_LIFE
        return f"/cluster/v1/snapshots/{image_id}?until={until}&signature={self._signature(f'snapshot:{image_id}', until)}"

    def snapshot_allowed(self, image_id: str, until: str, signature: str, now: float) -> bool:
        """Whether such an address is ours and still good."""
        return self._allowed(f"snapshot:{image_id}", until, signature, now)

    def _allowed(self, what: str, until: str, signature: str, now: float) -> bool:
        if not (until.isdecimal() and until.isascii() and len(until) < 12 and now < int(until) and signature.isascii()):
            return False
        return hmac.compare_digest(self._signature(what, int(until)), signature)

    def _signature(self, what: str, until: int) -> str:
        return hmac.new(self.content_key.encode(), f"{what}:{until}".encode(), sha256).hexdigest()

    @property
    def _subjects(self) -> Subjects:
        return Subjects(cloud=self.cloud)


def new_authority() -> BusAuthority:
    """One for a new cloud."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pileus bus")])
    certificate = (
        _builder(name, key)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return BusAuthority(
        cloud=secrets.token_hex(4),
        operator=nkeys.new_seed("operator"),
        account=nkeys.new_seed("account"),
        content_key=secrets.token_hex(32),
        ca_certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        ca_key=_pem(key),
    )


def _certificate(names: list[str], issuer: x509.Certificate, issuer_key: ec.EllipticCurvePrivateKey) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]), key)
        .issuer_name(issuer.subject)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key)


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Invalid("The key of the bus's certificate authority is of another kind than ours.")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
