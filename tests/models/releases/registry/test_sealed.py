"""Files that prove themselves whole."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.releases import a_release

from inferstream.pipeline.models.releases.faults import BadRelease
from inferstream.pipeline.models.releases.registry.sealed import seal, unseal
from inferstream.pipeline.models.releases.release import Origin, Release

RELEASE = a_release()
FILE = seal(RELEASE)


@given(st.integers(0, len(FILE) - 1), st.integers(0, 7))
def test_a_bit_that_flips_is_found_or_changes_nothing(place: int, bit: int) -> None:
    damaged = bytearray(FILE)
    damaged[place] ^= 1 << bit
    with suppress(BadRelease):
        assert unseal(bytes(damaged), Release, "it") == RELEASE, "a space between the parts"


@given(st.integers(0, len(FILE) - 1))
def test_a_file_that_is_cut_is_found(length: int) -> None:
    with pytest.raises(BadRelease):
        unseal(FILE[:length], Release, "it")


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_any_text_survives(source: str, data: dict[str, str]) -> None:
    release = msgspec.structs.replace(RELEASE, origin=Origin(source, data=data))
    assert unseal(seal(release), Release, "it") == release
    assert unseal(msgspec.json.format(seal(release), indent=-1), Release, "it") == release, (
        "spaces do not count"
    )


def test_a_field_of_a_newer_release_does_no_harm() -> None:
    class Newer(Origin, frozen=True):
        more: int = 0

    release = msgspec.structs.replace(RELEASE, origin=Newer("a test", more=1))
    assert unseal(seal(release), Release, "it") == RELEASE


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (b"", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b'{"format": 2, "sha256": "", "content": {}}', "has the format 2"),
        (b'{"format": 1, "sha256": "", "content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is damaged"),
        (b'{"format": 1, "sha256": "", "content": {}}', "is damaged"),
        (FILE.replace(b'"min_share": 0.97', b'"min_share": 0.90'), "not the digest"),
    ],
)
def test_what_is_wrong_is_named(file: bytes, sentence: str) -> None:
    with pytest.raises(BadRelease, match=sentence):
        unseal(file, Release, "it")
