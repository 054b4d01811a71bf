"""Which suites judge a service: the names of their tests, and whose credentials they use."""

from dataclasses import dataclass

TEMPEST, PLUGINS, CLIENTS = "tempest", "plugins", "clients"


@dataclass(frozen=True)
class Suite:
    """Tests of one package. `pattern` chooses them by name; `accounts`: with users made beforehand, not by an administrator on the way."""

    title: str
    part: str
    discovered: str
    pattern: str
    accounts: bool = False

    @property
    def folder(self) -> str:
        """A name for its files."""
        return self.title.lower().replace(", ", "-").replace(" ", "-")


def _tempest(service: str) -> tuple[Suite, Suite]:
    pattern = rf"^tempest\.api\.{service}\."
    return (
        Suite("Tempest", TEMPEST, "tempest/test_discover", pattern),
        Suite("Tempest, pre-provisioned users", TEMPEST, "tempest/test_discover", pattern, accounts=True),
    )


def _plugin(name: str) -> Suite:
    return Suite(f"{name}-tempest-plugin", PLUGINS, "tempest/test_discover", rf"^{name}_tempest_plugin\.tests\.(api|rbac)\.")


def _clients(service: str, ours: str) -> tuple[Suite, ...]:
    sdk, command = "openstack/tests/functional", "openstackclient/tests/functional"
    return (
        Suite("openstacksdk", CLIENTS, f"{sdk}/{service}", rf"^openstack\.tests\.functional\.{service}\."),
        Suite("openstacksdk, cloud layer", CLIENTS, f"{sdk}/cloud", rf"^openstack\.tests\.functional\.cloud\.test_{service}\."),
        Suite("python-openstackclient", CLIENTS, f"{command}/{ours}", rf"^openstackclient\.tests\.functional\.{ours.replace('/', '.')}\."),
    )


SERVICES: dict[str, tuple[Suite, ...]] = {
    "identity": (*_tempest("identity"), _plugin("keystone"), *_clients("identity", "identity/v3")),
    "image": (*_tempest("image"), _plugin("glance"), *_clients("image", "image")),
    "compute": _tempest("compute"),
    "network": _tempest("network"),
}
"""Each needs simulated hosts alone, but for what compute's tests ask of guests: those are skipped."""
