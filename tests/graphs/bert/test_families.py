"""The encoders and classifiers of BERT's families give the numbers of `transformers`.

references.json has what it computed for the tiny models, see make_references.py; with the extra `optimize` it is asked
itself.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tiny_families import BATCHES, LABELS, TINY, settings_of, token_rows, weights_of, write_tiny

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.graphs.bert.distances import added_scores, bucket_of
from inferstream.pipeline.graphs.bert.files import check_weights, read_config, read_weights
from inferstream.pipeline.graphs.bert.float32 import BertEncoder, Pooling
from inferstream.pipeline.graphs.bert.int8 import Int8BertEncoder
from inferstream.pipeline.optimize.compression.calibration import calibration_of, measure_inputs
from inferstream.pipeline.optimize.sample import load_sample
from inferstream.pipeline.runtime.encoder import collate
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.tokenizer import Tokenizer

REFERENCES: dict[str, Any] = json.loads(Path(__file__).with_name("references.json").read_text())
KINDS = [(family, classifier) for family in TINY for classifier in (False, True)]
NEXT_TO_BLANK = 3.5e-5  # of logits near 10; of unit vectors it is 4e-7


def graph(folder: Path, pooling: Pooling) -> Session:
    config = read_config(folder / "config.json")
    weights = read_weights(folder / "model.safetensors", config)
    check_weights(config, weights, folder / "model.safetensors")
    return Session(BertEncoder(config, weights, pooling).model().SerializeToString(), provider="cpu")


def run(session: Session, rows: list[list[int]]) -> np.ndarray:
    return session.run(collate(rows, 1))[0]


@pytest.mark.parametrize(("family", "classifier"), KINDS)
def test_each_family_gives_the_numbers_of_the_reference(
    family: str, classifier: bool, tmp_path: Path
) -> None:
    folder = write_tiny(tmp_path, family, classifier=classifier)
    session = graph(folder, "head" if classifier else "mean")
    expected = REFERENCES[f"{family} {'logits' if classifier else 'means'}"]
    for lengths, wanted in zip(BATCHES, expected, strict=True):
        found = run(session, token_rows(lengths))
        np.testing.assert_allclose(found, wanted, atol=NEXT_TO_BLANK if classifier else 1e-6)


@pytest.mark.parametrize("family", TINY)
def test_the_first_token_and_company(family: str, tmp_path: Path) -> None:
    """A row alone gives what it gives beside longer ones, whatever is pooled."""
    folder = write_tiny(tmp_path, family, seed=1)
    session = graph(folder, "cls")
    rows = token_rows([4, 30, 9])
    together = run(session, rows)
    for row, beside in zip(rows, together, strict=True):
        np.testing.assert_allclose(run(session, [row])[0], beside, atol=1e-6)


@pytest.mark.parametrize(("family", "classifier"), KINDS)
def test_int8_is_close_and_the_same_in_company(family: str, classifier: bool, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, family, classifier=classifier)
    pooling: Pooling = "head" if classifier else "mean"
    config = read_config(folder / "config.json")
    weights = read_weights(folder / "model.safetensors", config)
    tokenizer = Tokenizer(folder / "tokenizer.json", 64, config.padding)
    inputs = measure_inputs(config, weights, tokenizer, load_sample()[0][::8])
    calibration = calibration_of(inputs)
    session = Session(
        Int8BertEncoder(config, weights, pooling, calibration).model().SerializeToString(), provider="cpu"
    )
    original = graph(folder, pooling)
    rows = [list(windows[0]) for windows in tokenizer.encode(load_sample()[0][1::8])]
    before, after = run(original, rows), run(session, rows)
    alone = np.concatenate([run(session, [row]) for row in rows])
    np.testing.assert_allclose(alone, after, atol=2e-5 if classifier else 2e-6)
    if classifier:
        assert np.abs(after - before).mean() < 0.15 * np.abs(before).mean()
    else:
        assert np.sum(before * after, axis=1).min() > 0.995


@pytest.mark.parametrize("family", TINY)
def test_what_a_family_lacks_is_told_by_its_name(family: str, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, family, architectures=["BertForQuestionAnswering"])
    with pytest.raises(UsageError, match=r"BertForQuestionAnswering.*only an encoder or a classifier"):
        read_config(folder / "config.json")
    changed = settings_of(family) | {"hidden_act": "relu", "activation": "relu"}
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(UsageError, match="hidden_act = 'relu'"):
        read_config(folder / "config.json")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"problem_type": "regression"}, "problem_type = 'regression'"),
        (
            {"id2label": {"0": "relevance"}},
            "one label .relevance.: a model that gives a number, or judges pairs",
        ),
        ({"id2label": {"0": "a", "1": "a"}}, "equal or empty"),
        ({"id2label": {"0": "a", "2": "b"}}, "does not name the labels 0, 1, 2"),
        ({"id2label": {}}, "does not name the labels"),
        ({"id2label": ["a", "b"]}, "does not name the labels"),
        ({"id2label": {str(number): str(number) for number in range(10_001)}}, "does not name the labels"),
    ],
)
def test_what_does_not_choose_among_labels_is_refused(
    changed: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    folder = write_tiny(tmp_path, "bert", classifier=True, **changed)
    with pytest.raises(UsageError, match=sentence):
        read_config(folder / "config.json")


def test_a_head_that_does_not_fit_its_labels_is_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, "distilbert", classifier=True, id2label={**LABELS, "3": "more"})
    with pytest.raises(ModelError, match=r"head\.out\.weight of the shape \(3, 32\)"):
        graph(folder, "head")


def test_labels_that_are_not_named_are_numbered(tmp_path: Path) -> None:
    write_tiny(tmp_path, "bert", classifier=True, id2label=None)
    assert read_config(tmp_path / "config.json").labels == 2
    write_tiny(tmp_path, "bert", classifier=True, id2label=None, num_labels=7)
    assert read_config(tmp_path / "config.json").labels == 7


def test_distances_share_buckets() -> None:
    distances = np.arange(-200, 201)
    buckets = bucket_of(distances, 32)
    assert buckets.min() == 0
    assert buckets.max() == 31
    for near in range(8):
        assert bucket_of(np.array([-near]), 32)[0] == near
    assert bucket_of(np.array([-8, 8, 128, -128, 5_000]), 32).tolist() == [8, 24, 31, 15, 31]
    scores = added_scores(np.arange(64, dtype=np.float32).reshape(32, 2), 3)
    assert scores[0, 0].tolist() == [0, 2 * 17, 2 * 18]  # keys behind the query


@pytest.mark.optimize
@pytest.mark.parametrize(("family", "classifier"), KINDS)
def test_the_reference_itself_gives_the_same(family: str, classifier: bool, tmp_path: Path) -> None:
    from support.torch_reference import TorchModel

    folder = write_tiny(tmp_path, family, classifier=classifier, seed=5)
    session = graph(folder, "head" if classifier else "mean")
    model = TorchModel(folder, classifier=classifier)
    assert not model.not_loaded
    tokenizer = Tokenizer(folder / "tokenizer.json", 100, 1)
    texts = load_sample()[0]
    rows = [
        list(window)
        for windows in tokenizer.encode([*texts[::20], " ".join(texts[:30])])
        for window in windows
    ]
    for batch in ([rows[0]], rows[:3], rows, *map(token_rows, BATCHES)):
        wanted = model.logits(batch) if classifier else model.means(batch)
        np.testing.assert_allclose(run(session, batch), wanted, atol=NEXT_TO_BLANK if classifier else 1e-6)


@pytest.mark.optimize
def test_names_and_buckets_are_those_of_the_reference() -> None:
    import torch
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    distances = np.arange(-700, 701)
    wanted = MPNetEncoder.relative_position_bucket(torch.tensor(distances), num_buckets=32)
    np.testing.assert_array_equal(bucket_of(distances, 32), wanted.numpy())
    assert set(weights_of("mpnet")) <= {
        name.removeprefix("mpnet.") for name in weights_of("mpnet", classifier=True)
    }
