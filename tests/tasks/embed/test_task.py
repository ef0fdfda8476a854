"""Vectors of the task `embed`: those of the encoder itself, in any company, shortened where the model allows it."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from support.tiny_model import HIDDEN, write_tiny_model

from inferstream.pipeline.errors import BlankText, UnknownOption, WrongType
from inferstream.pipeline.models.manifest import Manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.tokenizer import Tokenizer
from inferstream.pipeline.tasks.base import Ask, Finished, Task
from inferstream.pipeline.tasks.embed.definition import EmbedDefinition, EmbedSettings
from inferstream.pipeline.tasks.embed.task import Embed
from inferstream.pipeline.tasks.pooling import embed, unit
from inferstream.schemas.messages import EmbedOutput

TEXTS = [
    "my card is not broken",
    "the parcel is late",
    "my order is late " * 30,  # several windows
    "i",
    "a refund, a refund! " * 40,
]


@dataclass
class Served:
    """The task over a variant of the tiny model."""

    task: Task
    encoder: Encoder
    manifest: Manifest

    def answers(self, texts: list[str], together: bool = True, **options: Any) -> list[EmbedOutput]:
        checked = self.task.options(options)
        rows = self.task.prepare([Ask(text, checked) for text in texts])
        flat = [row for one in rows for row in one]
        outputs = list(self.encoder.step(flat)) if together else [self.encoder.step([row])[0] for row in flat]
        finished = []
        for one in rows:
            finished.append(Finished(outputs[: len(one)], one, checked))
            del outputs[: len(one)]
        return [msgspec.json.decode(answer, type=EmbedOutput) for answer in self.task.finish(finished)]

    def own_vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """What the encoder gives for each text alone."""
        tokenizer = Tokenizer(self.manifest.tokenizer_path, self.manifest.max_tokens, self.manifest.pad_id)
        return embed(texts, tokenizer, self.encoder.graph, batch_tokens=1)


def registry_with(folder: Any, **config: Any) -> ModelRegistry:
    registry = ModelRegistry(folder / "home")
    pull(registry, "tiny", lambda *_: None, folder=write_tiny_model(folder / "tiny", **config))
    return registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    return registry_with(tmp_path_factory.mktemp("shorter"), matryoshka_dimensions=[16, 8, HIDDEN, 4_000])


def served(registry: ModelRegistry, name: str) -> Served:
    manifest, make, _ = EmbedDefinition().load(registry, name, EmbedSettings())
    session = Session(manifest.graph_path, provider="cpu")
    return Served(make(session), Encoder(session, manifest.pad_id), manifest)


@pytest.fixture(scope="module", params=["tiny-fp32", "tiny-int8"])
def one(registry: ModelRegistry, request: pytest.FixtureRequest) -> Served:
    return served(registry, request.param)


@pytest.mark.parametrize("together", [True, False])
def test_a_vector_is_that_of_the_encoder_in_any_company(one: Served, together: bool) -> None:
    answers = one.answers(TEXTS, together)
    own = one.own_vectors(TEXTS)
    for answer, vector in zip(answers, own, strict=True):
        assert answer.dimensions == len(answer.vector) == HIDDEN
        np.testing.assert_allclose(answer.vector, vector, atol=1e-6)
    assert [answer.windows > 1 for answer in answers] == [len(text) > 100 for text in TEXTS]


def test_without_normalization_the_mean_of_the_windows_keeps_its_length(one: Served) -> None:
    answers = one.answers(TEXTS, normalize=False)
    own = one.own_vectors(TEXTS)
    for answer, vector in zip(answers, own, strict=True):
        length = float(np.linalg.norm(answer.vector))
        assert length <= 1 + 1e-6
        assert (length < 1 - 1e-6) == (answer.windows > 1)
        np.testing.assert_allclose(np.asarray(answer.vector) / length, vector, atol=1e-6)


def test_a_model_that_allows_it_gives_shorter_vectors(one: Served) -> None:
    assert one.manifest.matryoshka_dimensions == (8, 16)
    own = one.own_vectors(TEXTS)
    for dimensions in (8, 16, HIDDEN):
        answers = one.answers(TEXTS, dimensions=dimensions)
        shortened = unit(own[:, :dimensions])
        for answer, vector in zip(answers, shortened, strict=True):
            assert answer.dimensions == dimensions
            np.testing.assert_allclose(answer.vector, vector, atol=1e-6)
    with pytest.raises(WrongType, match=r"must be one of 8, 16, 32 with tiny-\w+, not 9\."):
        one.task.options({"dimensions": 9})


def test_another_model_refuses_to_shorten(tmp_path: Any) -> None:
    plain = served(registry_with(tmp_path), "tiny-fp32")
    with pytest.raises(WrongType, match="have 32 dimensions and cannot be shortened"):
        plain.task.options({"dimensions": 16})
    assert plain.task.options({"dimensions": 32}).dimensions == 32


def test_wrong_options_are_one_sentence(one: Served) -> None:
    with pytest.raises(
        UnknownOption, match="Embed has no option 'x'; its options are: dimensions, normalize"
    ):
        one.task.options({"x": 1})
    with pytest.raises(WrongType, match="option 'normalize' has the wrong type: Expected `bool`, got `int`"):
        one.task.options({"normalize": 1})


def test_a_text_with_nothing_to_read_is_blank(one: Served) -> None:
    with pytest.raises(BlankText):
        one.task.prepare([Ask("\u200b", one.task.options({}))])


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [([3.0, 4.0], [0.6, 0.8], True), ([1.0, 0.0], [0.9, 0.43], False), ([1.0], [1.0, 0.0], False)],
)
def test_vectors_agree_that_point_the_same_way(one: list[float], other: list[float], alike: bool) -> None:
    task = object.__new__(Embed)
    assert task.agrees({"vector": one}, {"vector": other}) is alike
