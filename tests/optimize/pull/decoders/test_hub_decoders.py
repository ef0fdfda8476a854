"""`models pull` of a decoder: from a folder in the hub's layout, and from the hub by its id."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.decoders import generate
from support.file_server import FileServer, serve
from support.tiny_hub import COMMIT, REPOSITORY, make_it_the_hub, serve_hub
from support.tiny_llama import CHAT, tiny_tensors, write_tiny_hub

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.decoders.files import read_hub_files
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.chat_template import read_chat
from inferstream.pipeline.runtime.generated_row import GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.sessions import Session

GENERATIVE = {"architectures": ["LlamaForCausalLM"]}


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_hub(tmp_path / "hub", tiny_tensors(), **GENERATIVE)


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "home")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as server:
        yield server


def change(path: Path, **settings: Any) -> None:
    found = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))


@pytest.mark.parametrize("shards", [1, 3])
def test_from_a_folder_to_variants_that_generate(
    registry: ModelRegistry, tmp_path: Path, shards: int
) -> None:
    folder = write_tiny_hub(tmp_path / "hub", tiny_tensors(), shards, **GENERATIVE)
    fp32, int8 = pull(registry, "mine", quiet, folder)
    assert (int8.name, int8.kind, int8.family, int8.end_ids) == ("mine-int8", "llama-decoder", "llama", (2,))
    assert registry.load("mine") == int8
    assert read_chat(int8.chat_path).template == CHAT
    assert read_chat(int8.chat_path).tokens["eos_token"] == "</s>"
    generator = Generator(Session(int8.graph_path, provider="cpu"), GeneratorSize(rows=1, context=64))
    (found,) = generate(generator, [GeneratedRow([1, 70, 71], 5)])
    assert len(found.tokens) == 5
    steps: list[str] = []
    assert pull(registry, "mine", lambda step, *_: steps.append(step), folder) == [fp32, int8]
    assert steps == [], "a second pull does nothing"


def test_other_settings_are_another_model(registry: ModelRegistry, folder: Path) -> None:
    first = pull(registry, "mine", quiet, folder)[1]
    change(folder / "config.json", rope_theta=500.0)
    second = pull(registry, "mine", quiet, folder)[1]
    assert first.version != second.version
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    third = pull(registry, "mine", quiet, folder)[1]
    assert third.version != second.version
    assert read_chat(third.chat_path).template == "{{ messages[0].content }}"


def test_ends_of_all_files(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 2]}')
    change(folder / "tokenizer_config.json", eos_token="<s>")
    assert read_hub_files(folder).ends == (0, 1, 2)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, ""),
        ([{"name": "rag", "template": "no"}, {"name": "default", "template": "yes"}], "yes"),
    ],
)
def test_forms_of_a_template(folder: Path, template: Any, expected: str) -> None:
    change(folder / "tokenizer_config.json", chat_template=template)
    assert read_hub_files(folder).chat.template == expected


@pytest.mark.parametrize(
    ("file", "settings", "sentence"),
    [
        ("tokenizer_config.json", {"chat_template": [{"name": "rag", "template": ""}]}, "named default"),
        ("tokenizer_config.json", {"chat_template": "{% for %}"}, "chat template cannot be read"),
        ("tokenizer_config.json", {"chat_template": 5}, "named default"),
        ("generation_config.json", {"eos_token_id": "</s>"}, "Cannot read .*generation_config.json"),
        ("config.json", {"eos_token_id": 5000}, "end token 5000"),
        ("config.json", {"model_type": "gemma3"}, "model_type = 'gemma3'"),
    ],
)
def test_what_cannot_be_used_is_named(
    registry: ModelRegistry, folder: Path, file: str, settings: dict[str, Any], sentence: str
) -> None:
    (folder / "generation_config.json").write_text("{}")
    change(folder / file, **settings)
    with pytest.raises((UsageError, ModelError), match=sentence):
        pull(registry, "mine", quiet, folder)
    assert registry.list() == []


def test_without_an_end_or_a_tokenizer(registry: ModelRegistry, folder: Path) -> None:
    change(folder / "config.json", eos_token_id=None)
    change(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(UsageError, match="has no eos_token_id"):
        pull(registry, "mine", quiet, folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="Cannot read the tokenizer"):
        pull(registry, "mine", quiet, folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"has no tokenizer\.json"):
        pull(registry, "mine", quiet, folder)


def test_damage_to_a_safetensors_file(registry: ModelRegistry, folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    cuts = [0, 5, 8, 100, header, header + 99, len(content) - 1]
    for damaged in [content[:cut] for cut in cuts] + [
        b"\xff" * 99,
        b"\2" + bytes(7) + b"[]",
        b"\1" + bytes(7) + b"{",
    ]:
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            pull(registry, "mine", quiet, folder)
    path.write_bytes(content.replace(b'"F32"', b'"I32"'))
    with pytest.raises(UsageError, match="as I32; only F32, F16, BF16"):
        pull(registry, "mine", quiet, folder)


@pytest.fixture
def hub(server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    make_it_the_hub(server, monkeypatch)
    serve_hub(server, folder)
    return server


@pytest.mark.parametrize("shards", [1, 2])
def test_a_model_of_the_hub_by_its_id(
    hub: FileServer, registry: ModelRegistry, folder: Path, shards: int
) -> None:
    (folder / "model.safetensors").unlink()
    serve_hub(hub, write_tiny_hub(folder, tiny_tensors(), shards, **GENERATIVE))
    fp32, int8 = pull(registry, REPOSITORY, quiet)
    assert (fp32.name, fp32.revision) == ("tiny-encoder-fp32", COMMIT)
    assert int8.fidelity is not None
    before = len(hub.asked)
    assert pull(registry, f"{REPOSITORY}@{COMMIT}", quiet) == [fp32, int8]
    weights = [path for path, _ in hub.asked[before:] if "safetensors" in path and "index" not in path]
    assert not weights, "a second pull fetches no weights"


def test_what_is_not_supported_is_refused_before_the_weights_are_fetched(
    hub: FileServer, registry: ModelRegistry, folder: Path
) -> None:
    change(folder / "config.json", hidden_act="gelu")
    serve_hub(hub, folder)
    with pytest.raises(UsageError, match=rf"{REPOSITORY}/config.json has hidden_act = 'gelu'"):
        pull(registry, REPOSITORY, quiet)
    assert not any("model.safetensors" in path for path, _ in hub.asked)


def test_half_precision_is_measured_too(registry: ModelRegistry, tmp_path: Path) -> None:
    arrays = {name: array.astype(np.float16) for name, array in tiny_tensors().items()}
    folder = write_tiny_hub(tmp_path / "half", arrays, **GENERATIVE)
    _, int8 = pull(registry, "mine", quiet, folder)
    assert int8.steadiness is not None
    assert (int8.steadiness.in_company, int8.steadiness.resumed) == (0, 0)
