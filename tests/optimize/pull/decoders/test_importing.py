"""`models import gguf`, and the pull of a decoder, with tiny models."""

import json
import shutil
from pathlib import Path

import pytest
from support.decoders import generate
from support.tiny_llama import CONTEXT, TOKENS, WIDTH, tiny_tensors, write_tiny_gguf
from support.tiny_model import write_tiny_model
from tokenizers import Tokenizer

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.models.manifest import ENCODER, read_manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.decoders import variants as decoder_variants
from inferstream.pipeline.optimize.pull.decoders.pulling import import_gguf
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.chat_template import ChatTemplate, read_chat
from inferstream.pipeline.runtime.generated_row import GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.sessions import Session


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "Tiny-1M.Q4_1.gguf"
    write_tiny_gguf(path, tiny_tensors(), kind="Q4_1")
    return path


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    return ModelRegistry()


def quiet(step: str, done: int, total: int | None) -> None:
    pass


def test_from_a_file_to_variants_that_generate(registry: ModelRegistry, file: Path) -> None:
    fp32, int8, int4 = import_gguf(registry, file, quiet)
    assert [m.name for m in (fp32, int8, int4)] == ["tiny-1m-fp32", "tiny-1m-int8", "tiny-1m-int4"]
    assert (int4.kind, int4.family, int4.end_ids) == ("llama-decoder", "llama", (2,))
    assert (int4.max_tokens, int4.dimensions) == (CONTEXT, WIDTH)
    assert registry.load("tiny-1m") == int4, "the smallest variant has the short name"
    assert registry.load("tiny-1m-int8") == int8
    assert len({m.version for m in (fp32, int8, int4)}) == 3
    for manifest in (fp32, int8, int4):
        generator = Generator(Session(manifest.graph_path, provider="cpu"), GeneratorSize(rows=1, context=64))
        tokenizer = Tokenizer.from_file(manifest.tokenizer_path)
        text = ChatTemplate(read_chat(manifest.chat_path)).text([{"role": "user", "content": "ab"}])
        assert text == "<s>user:ab</s>"
        row = GeneratedRow(tokenizer.encode(text).ids, 5, manifest.end_ids)
        (found,) = generate(generator, [row])
        assert found.tokens or found.ended


def test_what_was_measured_is_in_the_manifest(registry: ModelRegistry, file: Path) -> None:
    fp32, *others = import_gguf(registry, file, quiet)
    assert fp32.fidelity is None
    for manifest in others:
        assert manifest.fidelity is not None
        assert 0 < manifest.fidelity.kl < 0.2
        assert 0.6 < manifest.fidelity.top1 <= 1, "random weights have many near equals"
        assert manifest.fidelity.tokens == 12 * 80
    for manifest in (fp32, *others):
        steadiness = manifest.steadiness
        assert steadiness is not None
        assert steadiness.texts == 8
        assert (steadiness.in_company, steadiness.in_other_chunks, steadiness.resumed) == (0, 0, 0)


def test_the_variant_for_a_gpu_is_built_when_it_is_asked_for_and_kept(
    registry: ModelRegistry, file: Path
) -> None:
    before = import_gguf(registry, file, quiet)
    steps: list[str] = []
    fp32, fp16, *others = import_gguf(registry, file, lambda step, *_: steps.append(step), fp16=True)
    assert [fp32, *others] == before
    assert not any("fp32" in step or "int8" in step for step in steps if step.startswith("building"))
    assert (fp16.name, fp16.precision, fp16.device) == ("tiny-1m-fp16", "fp16", "cuda")
    assert {manifest.device for manifest in before} == {"cpu"}
    assert registry.load("tiny-1m").precision == "int4"
    assert ModelRegistry(provider="cpu").load("tiny-1m").precision == "int4"
    assert ModelRegistry(provider="cuda").load("tiny-1m") == fp16
    assert fp16.fidelity is not None
    assert fp16.fidelity.kl < 1e-3
    assert fp16.fidelity.provider == "cpu" or fp16.steadiness is not None
    assert [m.name for m in import_gguf(registry, file, quiet)] == [m.name for m in (fp32, fp16, *others)]
    Path(fp16.graph_path).unlink()
    assert fp16 in import_gguf(registry, file, quiet)


def test_without_4_bit_weights_there_is_no_int4(registry: ModelRegistry, tmp_path: Path, file: Path) -> None:
    import_gguf(registry, file, quiet, "mine")
    write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(1), kind="Q8_0")
    fp32, int8 = import_gguf(registry, tmp_path / "m.gguf", quiet, "mine")
    assert registry.load("mine") == int8
    left = {path.name for path in registry.folder("mine").iterdir()}
    graphs = {Path(path).name for manifest in (fp32, int8) for path in manifest.digests}
    assert left == graphs | {"m.gguf", "fp32.json", "int8.json", "source.txt"}


def test_a_second_import_does_nothing(registry: ModelRegistry, file: Path) -> None:
    first = import_gguf(registry, file, quiet)
    steps: list[str] = []
    assert {m.name: m for m in import_gguf(registry, file, lambda step, *_: steps.append(step))} == {
        m.name: m for m in first
    }
    assert steps == []


@pytest.mark.parametrize("field", ["data_path", "chat_path", "tokenizer_path"])
def test_a_damaged_file_is_found_and_restored(registry: ModelRegistry, file: Path, field: str) -> None:
    import_gguf(registry, file, quiet)
    manifest = registry.load("tiny-1m")
    path = Path(getattr(manifest, field))
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(ModelError, match="absent or damaged"):
        registry.load("tiny-1m")
    import_gguf(registry, file, quiet)
    assert registry.load("tiny-1m") == manifest
    assert path.read_bytes() == content


def test_an_import_that_is_killed_lists_nothing_and_is_continued(
    registry: ModelRegistry, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(decoder_variants, "fidelity", killed)
        with pytest.raises(KeyboardInterrupt):
            import_gguf(registry, file, quiet)
    assert registry.list() == []
    assert len(import_gguf(registry, file, quiet)) == 3
    assert not list(registry.folder("tiny-1m").glob("*.part"))


def test_a_kill_between_two_manifests_is_repaired(registry: ModelRegistry, file: Path) -> None:
    import_gguf(registry, file, quiet)
    registry.manifest_path("tiny-1m", "fp32").unlink()  # it is the last one that is written
    steps: list[str] = []
    assert len(import_gguf(registry, file, lambda step, *_: steps.append(step))) == 3
    assert steps
    assert read_manifest(registry.manifest_path("tiny-1m", "fp32"))


def test_names(registry: ModelRegistry, file: Path, tmp_path: Path) -> None:
    for name in ("minilm", "smollm2-135m", "translate-en-pt"):
        with pytest.raises(UsageError, match="name of a published model"):
            import_gguf(registry, file, quiet, name)
    odd = tmp_path / "My Model (v2).Q4_K_M.gguf"
    shutil.copy(file, odd)
    assert import_gguf(registry, odd, quiet)[0].name == "my-model-v2-fp32"
    with pytest.raises(UsageError, match="my-model-v2 is the name of a llama-decoder here"):
        pull(registry, "my-model-v2", quiet, write_tiny_model(tmp_path / "encoder"))
    with pytest.raises(UsageError, match="is a llama-decoder, and a bert-encoder is needed"):
        registry.load("my-model-v2", ENCODER)


def test_what_cannot_be_used_leaves_nothing(registry: ModelRegistry, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_tiny_gguf(path, tiny_tensors(), **{"tokenizer.chat_template": "{% for %}"})
    with pytest.raises(ModelError, match="chat template"):
        import_gguf(registry, path, quiet)
    write_tiny_gguf(path, tiny_tensors(), **{"tokenizer.ggml.pre": "nonesuch"})
    with pytest.raises(UsageError, match="nonesuch"):
        import_gguf(registry, path, quiet)
    more = {"tokenizer.ggml.tokens": [*TOKENS, "more"], "tokenizer.ggml.token_type": None}
    write_tiny_gguf(path, tiny_tensors(), **more)
    with pytest.raises(ModelError, match=f"has the token {len(TOKENS)}, and its table has {len(TOKENS)}"):
        import_gguf(registry, path, quiet)
    assert registry.list() == []
    assert not registry.root.exists()


def test_weights_that_overflow_are_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    huge = {name: array * 1e18 for name, array in tiny_tensors().items()}
    write_tiny_gguf(tmp_path / "m.gguf", huge)
    with pytest.raises(ModelError, match="scores that are not finite"):
        import_gguf(registry, tmp_path / "m.gguf", quiet)
    assert registry.list() == []


def test_a_pull_takes_a_folder_only_with_the_published_file(registry: ModelRegistry, file: Path) -> None:
    with pytest.raises(UsageError, match=r"no SmolLM2-135M-Instruct\.Q4_1\.gguf"):
        pull(registry, "smollm2-135m", quiet, file.parent)
    with pytest.raises(UsageError, match="no folder"):
        pull(registry, "smollm2-135m", quiet, file / "nonesuch")


def test_the_command(registry: ModelRegistry, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "import", "gguf", str(file), "--as", "mine", "--json"]) == 0
    fp32, _, int4 = json.loads(capsys.readouterr().out)
    assert (fp32["name"], int4["family"]) == ("mine-fp32", "llama")
    assert run(["models", "show", "mine"]) == 0
    shown = capsys.readouterr().out
    assert int4["data_sha256"] in shown
    assert "of 960 tokens" in shown
    assert "of 8 texts, 0 differ in company, 0 in other chunks, 0 when resumed" in shown
    assert run(["models", "list"]) == 0
    assert "mine-int4" in capsys.readouterr().out
    assert run(["models", "import", "gguf", str(file.parent / "nonesuch.gguf")]) == 2
    assert "Cannot read" in capsys.readouterr().err
