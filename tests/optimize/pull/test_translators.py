"""`models import marian` and the pull of a translator, with a tiny model."""

import json
from pathlib import Path

import msgspec
import pytest
from support.tiny_marian import vocabulary_bytes, write_tiny_marian
from support.tiny_model import write_tiny_model

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.graphs.marian.shortlist import Shortlist
from inferstream.pipeline.models.manifest import ENCODER, write_manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.optimize.pull.translators import import_translator
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.subwords import END, Subwords
from inferstream.pipeline.runtime.translator import SourceRow, Translator


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_marian(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    return ModelRegistry()


def quiet(step: str, done: int, total: int | None) -> None:
    pass


def test_from_a_folder_to_two_variants_that_translate(registry: ModelRegistry, model: Path) -> None:
    fp32, int8 = import_translator(registry, model, quiet)
    assert (fp32.name, int8.name) == ("translate-xx-yy-fp32", "translate-xx-yy-int8")
    assert (int8.kind, int8.pair, int8.length_factor) == ("marian-translator", "xx-yy", 2.5)
    assert registry.load("translate-xx-yy") == int8
    for manifest in (fp32, int8):
        translator = Translator(Session(manifest.graph_path), Shortlist(manifest.shortlist_path))
        vocabulary = Subwords(manifest.tokenizer_path)
        (found,) = translator.step([SourceRow([*vocabulary.encode("my card"), END])])
        assert vocabulary.decode(found.tokens)


def test_a_second_import_does_nothing(registry: ModelRegistry, model: Path) -> None:
    first = import_translator(registry, model, quiet)
    steps: list[str] = []
    assert import_translator(registry, model, lambda step, *_: steps.append(step)) == first
    assert steps == []


def test_a_damaged_shortlist_is_found_and_restored(registry: ModelRegistry, model: Path) -> None:
    first = import_translator(registry, model, quiet)
    path = Path(first[0].shortlist_path)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ModelError, match="absent or damaged"):
        registry.load("translate-xx-yy")
    assert import_translator(registry, model, quiet) == first
    assert path.read_bytes() == content


def test_the_shortlist_is_part_of_the_version(registry: ModelRegistry, model: Path, tmp_path: Path) -> None:
    first, _ = import_translator(registry, model, quiet, "one")
    other = write_tiny_marian(tmp_path / "other")
    other.joinpath("lex.50.50.xxyy.s2t.bin").write_bytes(
        write_tiny_marian(tmp_path / "seed", 1).joinpath("lex.50.50.xxyy.s2t.bin").read_bytes()
    )
    second, _ = import_translator(registry, other, quiet, "two")
    assert first.graph_sha256 == second.graph_sha256
    assert first.version != second.version


def test_a_vocabulary_of_another_size_is_refused(
    registry: ModelRegistry, model: Path, tmp_path: Path
) -> None:
    other = write_tiny_marian(tmp_path / "other")
    (other / "vocab.xxyy.spm").write_bytes(vocabulary_bytes(38))
    with pytest.raises(ModelError, match="has 38 tokens, and the model has 40"):
        import_translator(registry, other, quiet)
    assert registry.list() == []
    assert not registry.folder("translate-xx-yy").exists()


@pytest.mark.parametrize("content", [b"", b"no vocabulary", vocabulary_bytes(eos_id=1, unk_id=0)])
def test_a_vocabulary_that_cannot_be_used_is_refused(
    registry: ModelRegistry, tmp_path: Path, content: bytes
) -> None:
    other = write_tiny_marian(tmp_path / "other")
    (other / "vocab.xxyy.spm").write_bytes(content)
    with pytest.raises(ModelError, match=rf"{other}/vocab\.xxyy\.spm"):
        import_translator(registry, other, quiet)
    assert not registry.folder("translate-xx-yy").exists()  # nothing of it was copied


def test_names(registry: ModelRegistry, model: Path, tmp_path: Path) -> None:
    assert import_translator(registry, model, quiet, "mine")[0].pair == "xx-yy"
    with pytest.raises(UsageError, match="name of a published model"):
        import_translator(registry, model, quiet, "translate-en-pt")
    with pytest.raises(UsageError, match="name of a published model"):
        import_translator(registry, model, quiet, "minilm")
    unnamed = write_tiny_marian(tmp_path / "unnamed")
    (unnamed / "model.xxyy.intgemm.alphas.bin").rename(unnamed / "model.best.intgemm.alphas.bin")
    import_translator(registry, unnamed, quiet, "translate-aa-bb")
    assert registry.load("translate-aa-bb").pair == "aa-bb"
    (unnamed / "model.best.intgemm.alphas.bin").rename(unnamed / "model.student.intgemm.alphas.bin")
    with pytest.raises(UsageError, match="--as NAME"):
        import_translator(registry, unnamed, quiet)


def test_a_pull_takes_a_folder_only_with_the_published_files(registry: ModelRegistry, model: Path) -> None:
    with pytest.raises(UsageError, match=r"no config\.intgemm8bitalpha\.yml"):
        pull(registry, "translate-en-pt", quiet, model)
    with pytest.raises(UsageError, match="no folder"):
        pull(registry, "translate-en-pt", quiet, model / "nonesuch")
    assert registry.list() == []


def test_a_translator_is_no_encoder(registry: ModelRegistry, model: Path) -> None:
    import_translator(registry, model, quiet)
    with pytest.raises(UsageError, match="is a marian-translator, and a bert-encoder is needed"):
        registry.load("translate-xx-yy", ENCODER)


def test_a_name_belongs_to_one_kind_of_model(registry: ModelRegistry, model: Path, tmp_path: Path) -> None:
    import_translator(registry, model, quiet, "mine")
    with pytest.raises(UsageError, match="mine is the name of a marian-translator here"):
        pull(registry, "mine", quiet, write_tiny_model(tmp_path / "encoder"))
    assert registry.load("mine").kind == "marian-translator"
    changed = msgspec.structs.replace(registry.load("mine-fp32"), kind=ENCODER)
    write_manifest(changed, registry.manifest_path("mine", "fp32"))
    with pytest.raises(UsageError, match="mine is the name of a bert-encoder here"):
        import_translator(registry, model, quiet, "mine")


def test_the_command(registry: ModelRegistry, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "import", "marian", str(model), "--json"]) == 0
    fp32, int8 = json.loads(capsys.readouterr().out)
    assert (fp32["name"], int8["pair"]) == ("translate-xx-yy-fp32", "xx-yy")
    assert run(["models", "show", "translate-xx-yy"]) == 0
    shown = capsys.readouterr().out
    assert int8["shortlist_sha256"] in shown
    assert run(["models", "import", "marian", str(model.parent / "nonesuch")]) == 2
    assert "Cannot read the folder" in capsys.readouterr().err
