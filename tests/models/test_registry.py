"""Loading, verifying and listing the models on disk."""

from pathlib import Path

import msgspec
import pytest

from inferstream.pipeline.errors import ModelError, UnknownModel, UsageError
from inferstream.pipeline.models.files import sha256_of
from inferstream.pipeline.models.manifest import Agreement, Manifest, read_manifest, write_manifest
from inferstream.pipeline.models.registry import ModelRegistry, split_name


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path)


def put(registry: ModelRegistry, base: str, precision: str) -> Manifest:
    folder = registry.folder(base)
    folder.mkdir(parents=True, exist_ok=True)
    graph, tokenizer = folder / f"{precision}.onnx", folder / "tokenizer.json"
    graph.write_bytes(precision.encode())
    tokenizer.write_text("{}")
    manifest = Manifest(
        name=f"{base}-{precision}",
        kind="bert-encoder",
        precision=precision,
        source="the folder /somewhere",
        revision="local",
        weights_sha256="0" * 64,
        graph_sha256=sha256_of(graph),
        tokenizer_sha256=sha256_of(tokenizer),
        max_tokens=48,
        dimensions=32,
        pad_id=0,
        builder=1,
        graph_path=str(graph),
        tokenizer_path=str(tokenizer),
        agreement=Agreement(0.99, 0.98, 0.97, 120, "sentences.tsv") if precision == "int8" else None,
    )
    write_manifest(manifest, registry.manifest_path(base, precision))
    return manifest


def test_load_returns_the_written_manifest(registry: ModelRegistry) -> None:
    int8, fp32 = put(registry, "mine", "int8"), put(registry, "mine", "fp32")
    assert registry.load("mine-int8") == int8
    assert registry.load("mine-fp32") == fp32
    assert registry.load("mine") == int8
    assert registry.list() == [fp32, int8]


def test_a_folder_may_be_moved(registry: ModelRegistry, tmp_path: Path) -> None:
    put(registry, "mine", "int8")
    (tmp_path / "models").rename(tmp_path / "elsewhere")
    (tmp_path / "moved").mkdir()
    (tmp_path / "elsewhere").rename(tmp_path / "moved" / "models")
    assert ModelRegistry(tmp_path / "moved").load("mine").graph_path.startswith(str(tmp_path / "moved"))


@pytest.mark.parametrize("damaged", ["int8.onnx", "tokenizer.json"])
def test_damaged_files_are_refused(registry: ModelRegistry, damaged: str) -> None:
    put(registry, "mine", "int8")
    path = registry.folder("mine") / damaged
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(ModelError, match="models pull mine"):
        registry.load("mine-int8")
    path.unlink()
    with pytest.raises(ModelError, match="models pull mine"):
        registry.load("mine-int8")


def test_a_damaged_manifest_is_refused_and_not_listed(registry: ModelRegistry) -> None:
    put(registry, "mine", "int8")
    registry.manifest_path("mine", "int8").write_text('{"name": ')
    with pytest.raises(ModelError, match="pull the model again"):
        registry.load("mine-int8")
    assert registry.list() == []


def test_unknown_names_are_refused(registry: ModelRegistry) -> None:
    put(registry, "mine", "int8")
    with pytest.raises(UnknownModel, match="mine-int8, minilm"):
        registry.load("other")
    with pytest.raises(ModelError, match="models pull minilm"):
        registry.load("minilm-int8")
    assert registry.list() != []


@pytest.mark.parametrize("name", ["../secrets", "a/b", "A", "", "-int8", "a--b", ".."])
def test_invalid_names_are_refused(registry: ModelRegistry, name: str) -> None:
    with pytest.raises(UsageError, match="not a model name"):
        registry.load(name)


def test_names_have_two_parts() -> None:
    assert split_name("minilm-int8") == ("minilm", "int8")
    assert split_name("minilm") == ("minilm", None)
    assert split_name("my-encoder") == ("my-encoder", None)
    assert split_name("my-encoder-fp32") == ("my-encoder", "fp32")


def test_the_version_changes_with_everything_that_changes_an_answer(registry: ModelRegistry) -> None:
    manifest = put(registry, "mine", "int8")
    changes = {"graph_sha256": "1" * 64, "tokenizer_sha256": "1" * 64, "max_tokens": 64}
    versions = {
        msgspec.structs.replace(manifest, **{field: value}).version for field, value in changes.items()
    }
    assert len(versions | {manifest.version}) == 4
    assert msgspec.structs.replace(manifest, graph_path="elsewhere").digest == manifest.digest


def test_one_version_is_one_graph(registry: ModelRegistry) -> None:
    here = put(registry, "mine", "int8")
    elsewhere = msgspec.structs.replace(here, graph_sha256="e" * 64)
    assert elsewhere.version != here.version


def test_a_manifest_is_replaced_atomically(registry: ModelRegistry) -> None:
    put(registry, "mine", "int8")
    path = registry.manifest_path("mine", "int8")
    write_manifest(msgspec.structs.replace(read_manifest(path), max_tokens=7), path)
    assert read_manifest(path).max_tokens == 7
    assert not list(path.parent.glob("*.part"))


def test_a_name_of_more_characters_than_a_folder_may_have_is_no_name() -> None:
    assert split_name("m" * 100) == ("m" * 100, None)
    with pytest.raises(UsageError, match="100 characters at most") as raised:
        split_name("m" * 1_000_000)
    assert len(str(raised.value)) < 300
