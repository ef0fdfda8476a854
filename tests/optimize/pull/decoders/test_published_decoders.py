"""SmolLM2 as it is published: against plain NumPy, against float32, alone and in company."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.decoders import generate
from support.numpy_llama import NumpyLlama, NumpyOptions
from tokenizers import Tokenizer

from inferstream.pipeline.graphs.llama.blocks import dense
from inferstream.pipeline.graphs.llama.config import matrices_of, norms_of
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.models.manifest import Manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.chat_template import ChatTemplate, read_chat
from inferstream.pipeline.runtime.generated_row import GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.sessions import Session

QUESTIONS = (
    "Write one sentence about the sea.",
    "What is a database?",
    "My invoice shows two charges for March.",
)
GENERATED = 16
EXPECTED = Path(__file__).with_name("smollm2_tokens.json")


@pytest.fixture(scope="module")
def published() -> Mapping[str, Manifest]:
    """Pulls the model if it is not in the cache folder."""
    manifests = pull(ModelRegistry(), "smollm2-135m", lambda step, done, total: None)
    return {manifest.precision: manifest for manifest in manifests}


def prompts(manifest: Manifest) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(manifest.tokenizer_path)
    template = ChatTemplate(read_chat(manifest.chat_path))
    texts = [template.text([{"role": "user", "content": question}]) for question in QUESTIONS]
    return [tokenizer.encode(text).ids for text in texts]


def texts_of(manifest: Manifest) -> list[list[int]]:
    generator = Generator(Session(manifest.graph_path, provider="cpu"), GeneratorSize(rows=3, context=128))
    found = generate(generator, [GeneratedRow(prompt, GENERATED) for prompt in prompts(manifest)])
    return [one.tokens for one in found]


def test_float32_chooses_as_numpy(published: Mapping[str, Manifest]) -> None:
    """One pass over the whole text tells after each token what plain NumPy would have chosen."""
    manifest = published["fp32"]
    folder = Path(manifest.graph_path).parent
    model = read_gguf_model(next(folder.glob("*.gguf")))
    config = model.config
    arrays = {name: dense(model.tensors.weight(name)) for name in matrices_of(config)}
    arrays |= {name: model.tensors.vector(name) for name in norms_of(config)}
    options = NumpyOptions(
        config.heads, config.kv_heads, model.frequencies, True, config.windows, config.rotary, config.epsilon
    )
    plain = NumpyLlama(arrays, options)
    prompt, found = prompts(manifest)[0], texts_of(manifest)[0]
    best = plain.scores([*prompt, *found]).argmax(-1).tolist()
    assert found == best[len(prompt) - 1 : -1]


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_variant_is_the_same_model(published: Mapping[str, Manifest], precision: str) -> None:
    fidelity = published[precision].fidelity
    assert fidelity is not None
    assert fidelity.kl <= 0.01
    assert fidelity.top1 >= 0.94
    pairs = zip(texts_of(published["fp32"]), texts_of(published[precision]), strict=True)
    same = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in pairs]
    assert sum(same) >= GENERATED, "near equals part sooner or later, but not all of them at once"


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_company_chunks_and_resuming_change_no_bit(published: Mapping[str, Manifest], precision: str) -> None:
    steadiness = published[precision].steadiness
    assert steadiness is not None
    assert (steadiness.in_company, steadiness.in_other_chunks, steadiness.resumed) == (0, 0, 0)


def test_the_tokens_are_those_of_llama_cpp(published: Mapping[str, Manifest]) -> None:
    tokenizer = Tokenizer.from_file(published["int4"].tokenizer_path)
    expected: dict[str, list[int]] = json.loads(EXPECTED.read_text("utf-8"))
    assert len(expected) > 20
    assert {text: tokenizer.encode(text).ids for text in expected} == expected
