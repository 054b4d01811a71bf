"""Why a test is skipped, in our words: by what the suite said, or by the test's name. What is not here is shown as unexplained."""

import re

UNEXPLAINED = "unexplained"
REASONS: list[tuple[str, str]] = [
    (r"volume service is not available|_volume_", "needs volumes: Block Storage is not there yet"),
    (r"bugs/2030527", "skipped by Tempest itself, for a bug of Glance's"),
    (r"No image_remote service", "needs two managers: PostgreSQL's and NATS's servers on the machine that runs the tests"),
    (r"do_secure_hash is enabled|Image format testing is not configured", "needs the lenient cloud, which --state has not"),
    (
        r"Federated Identity feature not enabled|federation",
        "scenarios of federation that want Keycloak, or SAML; tests/api/identity/test_openid_connect.py has a provider of its own",
    ),
    (r"[Mm]ulti-?[Ss]tore|only one store|store weight", "needs several stores; there is one"),
    (r"show_multiple_locations", "the old form of locations, which Glance has deprecated, and which is off unless an operator wants it"),
    (
        r"create_application_credential test for (domain|system) user",
        "skipped by the plugin itself: application credentials need a project",
    ),
]


def explained(test: str, reason: str) -> str:
    """Our reason for a skip."""
    return next((ours for pattern, ours in REASONS if re.search(pattern, f"{reason} {test}")), UNEXPLAINED)
