"""Which suites judge a service: the names of their tests, and whose credentials they use."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

TEMPEST, PLUGINS, CLIENTS = "tempest", "plugins", "clients"
MAIN, LENIENT, TWO = "", "lenient", "two managers"
KINDS = {
    LENIENT: "a cloud whose operator has uploads taken whatever they are, and locations believed unseen",
    TWO: "a cloud of two managers with an address each",
}
"""Kinds of clouds, beside that which most tests want."""


@dataclass(frozen=True)
class Suite:
    """Tests of one package. `pattern` chooses them by name, but for those of `left_out`; `accounts`: with users made beforehand, not by an
    administrator on the way. `completes`: the suite that skips these on its cloud; they run on one of `kind`."""

    title: str
    part: str
    discovered: str
    pattern: str
    accounts: bool = False
    kind: str = MAIN
    completes: str = ""
    left_out: str = ""

    @property
    def folder(self) -> str:
        """A name for its files."""
        return self.title.lower().replace(", ", "-").replace(": ", "-").replace(" ", "-")


def _tempest(service: str) -> tuple[Suite, Suite]:
    pattern = rf"^tempest\.api\.{service}\."
    return (
        Suite("Tempest", TEMPEST, "tempest/test_discover", pattern),
        Suite("Tempest, pre-provisioned users", TEMPEST, "tempest/test_discover", pattern, accounts=True),
    )


def _images_elsewhere() -> Iterator[Suite]:
    """Tests of images that ask for other settings. An upload of what servers are not made of asks for nothing where it is taken anyway, and
    Tempest skips it; a disk that an import converts is not made a server of as it is."""
    where = r"^tempest\.api\.image\.v2\."
    secure_hash = r"test_images\.(Multistore)?LocationImportTest\.test_add_location_with_do_secure_hash_false"
    left_out = r"test_accept_usable_formats.*\(bad-|test_compute_rejects_invalid.*\(converted-"
    for one in _tempest("image"):
        title = one.title
        of = replace(one, part=TEMPEST, completes=title, kind=LENIENT, left_out=left_out)
        yield replace(of, title=f"{title}: lenient cloud", pattern=rf"{where}(test_images_formats\.|{secure_hash})")
        remote = r"(test_images\.(ImportImagesTest\.test_remote_|HashCalc)|admin\.test_image_caching\..*remote)"
        yield replace(of, title=f"{title}: two managers", pattern=f"{where}{remote}", kind=TWO, left_out="")


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
    "image": (*_tempest("image"), *_images_elsewhere(), _plugin("glance"), *_clients("image", "image")),
    "compute": _tempest("compute"),
    "network": _tempest("network"),
}
"""Each needs simulated hosts alone, but for what compute's tests ask of guests: those are skipped."""
