"""Fitted models on disk: versions are kept, `current` changes, damaged files are refused."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from inferstream.pipeline.errors import ModelError, UnknownModel, UsageError
from inferstream.pipeline.tasks.triage.head import Head, HeadAccuracy, HeadStore

WEIGHTS = np.arange(6, dtype="<f4").reshape(3, 2)
HEAD = Head(
    base="minilm-int8",
    encoder_digest=b"e" * 32,
    labels=("refund", "login"),
    dimensions=3,
    weights=WEIGHTS.tobytes(),
    bias=np.array([0.5, -0.5], "<f4").tobytes(),
    temperature=0.8,
    measured=HeadAccuracy(80, 20, 0.9, 0.9, 0.1, 0.02),
    routes={"refund": "billing"},
)


@pytest.fixture
def heads(tmp_path: Path) -> HeadStore:
    return HeadStore(tmp_path)


def test_a_head_is_loaded_as_it_was_saved(heads: HeadStore) -> None:
    version = heads.save("tickets", HEAD)
    loaded = heads.load("tickets")
    assert (loaded, loaded.version) == (HEAD, version)
    classifier = loaded.classifier()
    np.testing.assert_array_equal(classifier.weights, WEIGHTS)
    np.testing.assert_allclose(classifier.scores(np.float32([[1, 0, 0]])), [[0.5, 0.5]])


def test_a_new_fit_becomes_current_and_the_old_one_stays(heads: HeadStore) -> None:
    old = heads.save("tickets", HEAD)
    new = heads.save("tickets", replace(HEAD, temperature=0.9))
    assert heads.current("tickets") == new
    assert sorted(heads.versions("tickets")) == sorted([old, new])
    heads.use("tickets", old)
    assert heads.load("tickets").temperature == 0.8
    assert heads.save("tickets", HEAD) == old, "the same content is the same version"
    assert len(heads.versions("tickets")) == 2


def test_after_a_killed_fit_the_old_version_is_current(heads: HeadStore) -> None:
    version = heads.save("tickets", HEAD)
    (heads.root / "tickets" / "0123456789ab").mkdir()
    (heads.root / "tickets" / "0123456789ab" / "head.msgpack.77.part").write_bytes(b"half")
    assert heads.load("tickets").version == version
    assert heads.versions("tickets") == [version]


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_a_corrupted_head_is_refused_in_one_sentence(heads: HeadStore, keep: int) -> None:
    path = heads.root / "tickets" / heads.save("tickets", HEAD) / "head.msgpack"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ModelError, match=r"head.msgpack is damaged; fit tickets again with `inferstream triage fit`.$"
    ):
        heads.load("tickets")


def test_a_flipped_bit_is_found(heads: HeadStore) -> None:
    path = heads.root / "tickets" / heads.save("tickets", HEAD) / "head.msgpack"
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is damaged"):
        heads.load("tickets")


def test_an_invalid_current_file_is_refused(heads: HeadStore) -> None:
    heads.save("tickets", HEAD)
    (heads.root / "tickets" / "current").write_text("../../etc")
    with pytest.raises(ModelError, match="does not contain a version; fit tickets again"):
        heads.load("tickets")


def test_unknown_names_and_versions(heads: HeadStore) -> None:
    heads.save("tickets", HEAD)
    with pytest.raises(UnknownModel, match="no fitted model 'ticket'; there is: tickets"):
        heads.load("ticket")
    with pytest.raises(UnknownModel, match="has no version '000000000000'"):
        heads.use("tickets", "000000000000")
    assert not heads.has("../tickets")
    with pytest.raises(UsageError, match="is not a model name"):
        heads.save("../tickets", HEAD)
    assert heads.names() == ["tickets"]


def test_weights_of_the_wrong_shape(heads: HeadStore) -> None:
    with pytest.raises(ModelError, match="wrong shape"):
        replace(HEAD, dimensions=4).classifier()
