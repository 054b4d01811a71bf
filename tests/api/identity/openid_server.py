"""A provider of OpenID Connect in this process, for tests that need one which does as it is told, wrong things too.

The real one is in tests/real/test_openid_connect.py.
"""

import base64
import hashlib
import json
import ssl
import tempfile
import threading
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CLIENT, SECRET = "pileus", "the secret of the client: % and +"


class OpenIdServer:
    """`token(...)` signs one; `opaque` says what introspection tells of tokens; `asked` counts requests by path."""

    def __init__(self, tls: bool = False) -> None:
        self.certificate = ""
        self.keys: dict[str, Any] = {}
        self.add_key("first")
        self.forget()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls:
            self.certificate = self._encrypt()
        self.issuer = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_address[1]}/realm"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def _encrypt(self) -> str:
        """Speak TLS from now on; the certificate, which signs itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a provider for tests")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
            .add_extension(x509.BasicConstraints(True, None), True).sign(key, SHA256())
        )  # fmt: skip
        pem = certificate.public_bytes(Encoding.PEM).decode()
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
            file.flush()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file.name)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        return pem

    def forget(self) -> None:
        """As it was at first, for another test."""
        self.published = ["first"]
        self.opaque: dict[str, dict[str, Any]] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: Counter[str] = Counter()
        self.metadata: dict[str, Any] = {}
        self.broken: set[str] = set()
        self.id_claims: dict[str, Any] = {}

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)

    def add_key(self, kid: str, kind: str = "RSA") -> None:
        self.keys[kid] = ec.generate_private_key(ec.SECP256R1()) if kind == "EC" else rsa.generate_private_key(65537, 2048)

    def public(self, kid: str) -> dict[str, Any]:
        key = self.keys[kid].public_key()
        kind = RSAAlgorithm if isinstance(key, rsa.RSAPublicKey) else ECAlgorithm
        return {**json.loads(kind.to_jwk(key)), "kid": kid, "use": "sig"}

    def token(self, sub: str = "u-1", kid: str | None = "first", key: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
        """Claims that are None are left out."""
        now = int(time.time())
        whole = {"iss": self.issuer, "sub": sub, "aud": CLIENT, "iat": now, "exp": now + 300, **claims}
        headers = {"kid": kid, **whole.pop("header", {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        signer = key if key is not None else self.keys[kid or "first"]
        return jwt.encode({name: value for name, value in whole.items() if value is not None}, signer, algorithm, headers=headers)

    def sign_in(self, location: str, sub: str = "u-1") -> dict[str, str]:
        """What a user does in the browser: the query with which the provider sends it back."""
        where = urlsplit(location)
        assert f"{where.scheme}://{where.netloc}{where.path}" == f"{self.issuer}/authorize"
        asked = {name: values[0] for name, values in parse_qs(where.query).items()}
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT and "openid" in asked["scope"].split()
        code = uuid.uuid4().hex
        self.codes[code] = {**asked, "sub": sub}
        return {"code": code, "state": asked["state"]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                self._answer(*server.get(self.path, dict(self.headers)))

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                given = {name: values[0] for name, values in form.items()}
                self._answer(*server.post(self.path, dict(self.headers), given))

            def _answer(self, status: int, document: Any) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler

    def get(self, path: str, headers: dict[str, str]) -> tuple[int, Any]:
        path = path.removeprefix("/realm")
        self.asked[path] += 1
        if path in self.broken:
            return 500, {}
        if path == "/.well-known/openid-configuration":
            ends = {name: f"{self.issuer}/{end}" for name, end in ENDS.items()}
            return 200, {"issuer": self.issuer, **ends, **self.metadata}
        if path == "/jwks":
            return 200, {"keys": [self.public(kid) for kid in self.published]}
        if path == "/userinfo":
            found = self.users.get(headers.get("Authorization", "").removeprefix("Bearer "))
            return (200, found) if found else (401, {})
        return 404, {}

    def post(self, path: str, headers: dict[str, str], form: dict[str, str]) -> tuple[int, Any]:
        path = path.removeprefix("/realm")
        self.asked[path] += 1
        name, _, secret = base64.b64decode(headers.get("Authorization", "Basic ").removeprefix("Basic ")).decode().partition(":")
        if (unquote_plus(name), unquote_plus(secret)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        if path == "/introspect":
            return 200, self.opaque.get(form["token"], {"active": False})
        if path == "/token":
            return self._redeem(form)
        return 404, {}

    def _redeem(self, form: dict[str, str]) -> tuple[int, Any]:
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if asked is None or asked["redirect_uri"] != form["redirect_uri"] or asked["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        access = uuid.uuid4().hex
        self.users[access] = {"sub": asked["sub"], "nickname": "nick"}
        id_token = self.token(asked["sub"], **{"nonce": asked["nonce"], **self.id_claims})
        return 200, {"access_token": access, "token_type": "Bearer", "id_token": id_token}


ENDS = {"jwks_uri": "jwks", "authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo",
        "introspection_endpoint": "introspect"}  # fmt: skip
