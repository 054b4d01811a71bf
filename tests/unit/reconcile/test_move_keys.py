"""Certificates of a move: each side trusts the other's, nobody else's, and neither can sign any more."""

import datetime
import time

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pileus.model.moves import MoveKeys
from pileus.reconcile.move_keys import make_keys

MOVE, OTHER = "8df996da-5677-409c-89ed-f381903466d3", "8df996da-5677-409c-89ed-f381903466d4"


def certificate(keys: MoveKeys) -> x509.Certificate:
    return x509.load_pem_x509_certificate(keys.certificate.encode())


def authority(keys: MoveKeys) -> x509.Certificate:
    return x509.load_pem_x509_certificate(keys.authority.encode())


def test_both_sides_are_signed_by_the_authority_of_their_move_alone() -> None:
    one, other = make_keys(MOVE, time.time()), make_keys(OTHER, time.time())
    for side in (one.source, one.destination):
        certificate(side).verify_directly_issued_by(authority(one.source))
        with pytest.raises((ValueError, InvalidSignature)):
            certificate(side).verify_directly_issued_by(authority(other.source))


def test_the_destination_has_the_name_that_the_source_asks_for() -> None:
    keys = make_keys(MOVE, time.time())
    names = certificate(keys.destination).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [keys.name]
    assert len(keys.name) <= 63


def test_a_key_belongs_to_its_certificate_and_no_authoritys_key_is_kept() -> None:
    keys = make_keys(MOVE, time.time())
    for side in (keys.source, keys.destination):
        private = load_pem_private_key(side.key.encode(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        assert private.public_key() == certificate(side).public_key()
        assert private.public_key() != authority(side).public_key()
        assert not certificate(side).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_they_are_valid_for_a_day() -> None:
    now = time.time()
    seen = certificate(make_keys(MOVE, now).source)
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    assert seen.not_valid_before_utc < moment < seen.not_valid_after_utc <= moment + datetime.timedelta(days=1)


def test_keys_are_in_no_text_about_them() -> None:
    keys = make_keys(MOVE, time.time())
    assert "PRIVATE" not in repr(keys) + repr(keys.source)
