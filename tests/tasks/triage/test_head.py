"""Fitted models on disk: versions are kept, `current` changes, damaged files are refused."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from support.static_tiers import random_arrays

from inferstream.pipeline.errors import ModelError, UnknownModel, UsageError
from inferstream.pipeline.tasks.triage.head import Head, HeadAccuracy, HeadStore, StaticPart
from inferstream.pipeline.tasks.triage.static_tier import StaticTier

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


ARRAYS = random_arrays(labels=2, dimensions=3)
TOKENIZER = b"{}"
FILES = {"static.safetensors": ARRAYS.encoded(), "tokenizer.json": TOKENIZER}
WITH_STATIC = replace(
    HEAD,
    static=StaticPart(
        weights_sha256=sha256(FILES["static.safetensors"]).hexdigest(),
        tokenizer_sha256=sha256(TOKENIZER).hexdigest(),
        max_tokens=256,
        pad_id=0,
        measured=HEAD.measured,
    ),
    serve="static",
)


def test_a_static_tier_is_loaded_as_it_was_saved(heads: HeadStore) -> None:
    version = heads.save("tickets", WITH_STATIC, FILES)
    head = heads.load("tickets")
    assert (head, head.version, head.served) == (WITH_STATIC, version, "static")
    assert set(head.files) == FILES.keys()
    tier = heads.static_tier("tickets", head)
    text = [[1, 3, 4]]
    assert (tier.logits([text]) == StaticTier(ARRAYS).logits([text])).all()
    assert heads.file("tickets", head, "tokenizer.json").read_bytes() == TOKENIZER


def test_a_head_without_a_static_tier_keeps_its_bytes(heads: HeadStore) -> None:
    """A file that an earlier release wrote has the same version, and is served by the encoder."""
    assert HEAD.version == "d54d8cce87ee"
    assert (HEAD.served, HEAD.files) == ("encoder", {})
    heads.save("tickets", HEAD)
    with pytest.raises(ModelError, match="tickets has no static tier; fit it again"):
        heads.static_tier("tickets", HEAD)


@pytest.mark.parametrize("file", FILES)
def test_files_of_a_static_tier_that_are_damaged_or_absent_are_refused(heads: HeadStore, file: str) -> None:
    folder = heads.root / "tickets" / heads.save("tickets", WITH_STATIC, FILES)
    (folder / file).write_bytes(FILES[file][:-1])
    with pytest.raises(ModelError, match=rf"{file} is absent or damaged; fit tickets again"):
        heads.use("tickets", folder.name)
    with pytest.raises(ModelError, match=rf"{file} is absent or damaged; fit tickets again"):
        heads.file("tickets", WITH_STATIC, file)
    (folder / file).unlink()
    with pytest.raises(ModelError, match=rf"{file} is absent or damaged; fit tickets again"):
        heads.file("tickets", WITH_STATIC, file)
    (folder / file).mkdir()
    with pytest.raises(ModelError, match=rf"{file} is absent or damaged; fit tickets again"):
        heads.file("tickets", WITH_STATIC, file)


def test_a_static_tier_for_other_labels_is_refused(heads: HeadStore) -> None:
    other = replace(WITH_STATIC, labels=("refund", "login", "other"))
    heads.save("tickets", other, FILES)
    with pytest.raises(ModelError, match="is for other labels or another encoder than tickets"):
        heads.static_tier("tickets", other)
