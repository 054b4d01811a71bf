"""The set of images that Tempest's tests of formats get: what is called bad in it, is."""

import shutil
from pathlib import Path

import pytest
import yaml

from pileus.core.image_formats import Inspector, check
from pileus.model.errors import Invalid
from tests.conformance import formats

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img, which makes the images, is missing (qemu-utils)")


def test_sound_images_pass_and_bad_ones_are_refused_for_a_reason_of_their_own(tmp_path: Path) -> None:
    listed = yaml.safe_load(formats.make(tmp_path).read_text())["images"]
    refused: dict[str, str] = {}
    for one in listed:
        inspector = Inspector()
        inspector.feed((tmp_path / one["filename"]).read_bytes())
        try:
            check(inspector.sample(), one["format"], "bare")
        except Invalid as error:
            refused[one["name"]] = error.message
    assert set(refused) == {one["name"] for one in listed if not one["usable"]}
    for name, word in {"backing-file": "backing file", "data-file": "data file", "feature": "feature", "descriptor": "descriptor",
                       "other-extent": "names a file", "two-faces": "qcow2"}.items():  # fmt: skip
        assert word in refused[f"bad-{name}"], refused
