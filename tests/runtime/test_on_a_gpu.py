"""The variant fp16 of a decoder on a GPU. Without one, `test_memory_apart` runs all but the kernels."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.decoders import generate, session_of
from support.recorded_row import Recorded
from support.tiny_llama import WORDS, tiny_tensors, write_tiny_gguf

from inferstream.pipeline.graphs.devices import HOST, MEMORIES
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.optimize.closeness.fidelity import scores_of
from inferstream.pipeline.runtime.generated_row import GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.key_values import DeviceKeyValues
from inferstream.pipeline.runtime.prefixes import Keeping
from inferstream.pipeline.runtime.sessions import Session

ROWS = 4
SIZE = GeneratorSize(rows=ROWS, context=96)
FAMILIES = {"llama": {}, "qwen2": {"biases": "qkv"}, "qwen3": {"norms": True}}


def prompt(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, WORDS, length).tolist()  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    tensors = tiny_tensors(2, **FAMILIES[request.param])
    write_tiny_gguf(folder / "m.gguf", tensors, request.param, kind="Q4_1")
    return folder


@pytest.fixture(scope="module")
def on_gpu(gpu: str, folder: Path) -> Session:
    return session_of(read_gguf_model(folder / "m.gguf"), "fp16", folder, gpu)


@pytest.fixture(scope="module")
def generator(on_gpu: Session) -> Generator:
    generator = Generator(on_gpu, SIZE, Keeping(256))
    generator.warm_up()
    return generator


def test_all_of_the_graph_runs_on_the_gpu(on_gpu: Session, folder: Path) -> None:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    ort.InferenceSession(str(folder / "fp16.onnx"), options, on_gpu._session.get_providers()[:1])


def test_scores_are_those_of_a_cpu(on_gpu: Session, folder: Path) -> None:
    known = session_of(read_gguf_model(folder / "m.gguf"), "fp32", folder)
    tokens = prompt(60)
    wanted = scores_of(known, tokens)
    np.testing.assert_allclose(scores_of(on_gpu, tokens), wanted, atol=2e-2 * np.abs(wanted).max())


def test_steps_equal_a_prompt(on_gpu: Session, generator: Generator) -> None:
    """The scores of each step, from keys in the memory of the device, are those of one run without a past."""
    assert on_gpu.memory == MEMORIES["cuda"] != HOST
    assert isinstance(generator._lanes[0].memory.key_values, DeviceKeyValues)
    row = Recorded(prompt(30, 3), 8)
    generate(generator, [row])
    wanted = scores_of(on_gpu, [*row.prompt, *row.generated])[len(row.prompt) - 1 : -1]
    found = np.array([np.frombuffer(bits, np.float32) for bits in row.bits])
    np.testing.assert_allclose(found, wanted, atol=2e-2 * np.abs(wanted).max())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.builds(prompt, st.integers(1, 82), st.integers(0, 99)), min_size=1, max_size=ROWS),
    lengths=st.lists(st.integers(1, 12), min_size=ROWS, max_size=ROWS),
)
def test_company_changes_no_bit(generator: Generator, texts: list[list[int]], lengths: list[int]) -> None:
    rows = [[Recorded(*one) for one in zip(texts, lengths, strict=False)] for _ in range(2)]
    for row in rows[0]:
        generate(generator, [row])
    generate(generator, rows[1])
    assert [(row.generated, row.bits) for row in rows[0]] == [(row.generated, row.bits) for row in rows[1]]


def test_what_was_read_of_a_prompt_is_copied(on_gpu: Session, generator: Generator) -> None:
    text = prompt(50, 77)
    known = generate(Generator(on_gpu, SIZE), [GeneratedRow(text, 6)])
    assert generate(generator, [GeneratedRow(text, 6)]) == known
    again = GeneratedRow(text, 6)
    assert generate(generator, [again]) == known
    assert again.cached == 48
