"""An LDAP directory for tests: OpenLDAP's slapd from Debian's package, on a loopback port; it ends with its test."""

import contextlib
import datetime
import ipaddress
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE = 20.0
PROGRAM = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/bin")
SUFFIX = "dc=example,dc=org"
ADMIN, SECRET = f"cn=admin,{SUFFIX}", "a secret of the directory"
ALICE, BOB, CAROL = (f"the password of {name}" for name in ("alice", "bob", "carol"))
CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {directory}/pid
allow bind_anon_cred bind_anon_dn
TLSCACertificateFile {directory}/ca.pem
TLSCertificateFile {directory}/server.pem
TLSCertificateKeyFile {directory}/server.key
database mdb
suffix "{suffix}"
rootdn "{admin}"
rootpw "{secret}"
directory {directory}/db
maxsize 4194304
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
"""


def person(name: str, **attributes: str) -> dict[str, Any]:
    """An entry of somebody."""
    return {"objectClass": ["inetOrgPerson"], "cn": name, "sn": name.title(), "uid": name, "mail": f"{name}@example.org", **attributes}


ENTRIES: dict[str, dict[str, Any]] = {
    SUFFIX: {"objectClass": ["dcObject", "organization"], "dc": "example", "o": "Example"},
    f"ou=People,{SUFFIX}": {"objectClass": ["organizationalUnit"], "ou": "People"},
    f"ou=Groups,{SUFFIX}": {"objectClass": ["organizationalUnit"], "ou": "Groups"},
    f"cn=alice,ou=People,{SUFFIX}": person("alice", userPassword=ALICE, description="the first", employeeType="TRUE"),
    f"cn=bob,ou=People,{SUFFIX}": person("bob", userPassword=BOB, employeeType="TRUE"),
    f"cn=carol,ou=People,{SUFFIX}": person("carol", userPassword=CAROL, employeeType="FALSE"),
    f"cn=star*(x),ou=People,{SUFFIX}": person("star*(x)", userPassword="stars", employeeType="TRUE"),
    f"cn=builders,ou=Groups,{SUFFIX}": {
        "objectClass": ["groupOfNames"], "cn": "builders", "ou": "Builders", "description": "they build",
        "member": [f"cn=alice,ou=People,{SUFFIX}", f"CN=Carol, ou=people,{SUFFIX}", f"cn=gone,ou=People,{SUFFIX}"],
    },
}  # fmt: skip


class Slapd:
    """A running directory."""

    def __init__(self) -> None:
        if PROGRAM is None:
            pytest.skip("needs an LDAP server: sudo apt-get install slapd")
        self.directory = Path(tempfile.mkdtemp(prefix="pileus-ldap-"))
        (self.directory / "db").mkdir()
        certify(self.directory)
        self.config = self.directory / "slapd.conf"
        self.config.write_text(CONFIG.format(directory=self.directory, suffix=SUFFIX, admin=ADMIN, secret=SECRET))
        self.port, self.tls_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        for dn, attributes in ENTRIES.items():
            self.add(dn, attributes)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where it listens with TLS."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    def start(self) -> None:
        """Start it; returns when it answers."""
        assert PROGRAM is not None
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", PROGRAM, "-d", "0", "-f", str(self.config), "-h", f"{self.url} {self.tls_url}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not listens(self.port):
            assert self._process.poll() is None and time.monotonic() < deadline, (self.directory / "log").read_text()
            threading.Event().wait(0.02)

    def stop(self) -> None:
        """End it; `start` starts it again."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def remove(self) -> None:
        """End it and remove its files."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def add(self, dn: str, attributes: dict[str, Any]) -> None:
        """Add an entry."""
        with self._admin() as connection:
            assert connection.add(dn, attributes=attributes), connection.result

    def change(self, dn: str, **attributes: Any) -> None:
        """Replace attributes of an entry."""
        import ldap3

        with self._admin() as connection:
            changes = {name: [(ldap3.MODIFY_REPLACE, value if isinstance(value, list) else [value])] for name, value in attributes.items()}
            assert connection.modify(dn, changes), connection.result

    def delete(self, dn: str) -> None:
        """Remove an entry."""
        with self._admin() as connection:
            assert connection.delete(dn), connection.result

    @contextlib.contextmanager
    def _admin(self) -> Any:
        import ldap3

        server = ldap3.Server(self.url, get_info=ldap3.NONE)
        connection = ldap3.Connection(server, ADMIN, SECRET, auto_bind=True)
        try:
            yield connection
        finally:
            connection.unbind()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def certify(directory: Path) -> None:
    """An authority of its own (ca.pem), and what it says of 127.0.0.1 (server.pem, server.key); other.pem is another's."""
    _, _, other = _authority("another authority")
    key, name, authority = _authority("an authority for tests")
    server = ec.generate_private_key(ec.SECP256R1())
    alone = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = _certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a directory")]), name, server, key, alone)
    for file, one in (("ca.pem", authority), ("other.pem", other), ("server.pem", made)):
        (directory / file).write_bytes(one.public_bytes(serialization.Encoding.PEM))
    (directory / "server.key").write_bytes(
        server.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _authority(called: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Name, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
    return key, name, _certificate(name, name, key, key, x509.BasicConstraints(ca=True, path_length=None))


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, more: x509.ExtensionType
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), now - day, now + day)
    return made.add_extension(more, critical=True).sign(by, hashes.SHA256())
