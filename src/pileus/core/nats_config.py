"""The configuration of a NATS server that serves a cloud: who may connect is told by signed claims alone."""

from pileus.model.base import Model

MAX_PAYLOAD = 8 << 20


class NatsServer(Model, frozen=True, kw_only=True):
    """What such a server needs to know. `listen` is HOST:PORT; certificate and key are paths of PEM files (both or none)."""

    listen: str
    operator: str  # the operator's claims
    account: str  # the account's public key
    account_claims: str
    certificate: str = ""
    key: str = ""
    pid_file: str = ""
    log_file: str = ""


def text(server: NatsServer) -> str:
    """The file's text, for nats-server 2.9 and newer."""
    lines = [
        "# Written by pileus. No names or passwords: each client shows claims that the cloud has signed.",
        f'listen: "{server.listen}"',
        f"operator: {server.operator}",
        "resolver: MEMORY",
        "resolver_preload: {",
        f"  {server.account}: {server.account_claims}",
        "}",
        f"max_payload: {MAX_PAYLOAD}",
        "max_pending: 67108864",
        'write_deadline: "5s"',
    ]
    if server.pid_file:
        lines.append(f'pid_file: "{server.pid_file}"')
    if server.log_file:
        lines += [f'log_file: "{server.log_file}"', "logfile_size_limit: 10485760"]
    if server.certificate:
        lines += ["tls {", f'  cert_file: "{server.certificate}"', f'  key_file: "{server.key}"', "  timeout: 3", "}"]
    return "\n".join(lines) + "\n"
