"""`models evaluate` for tiny translators, decoders and classifiers: what is worse is found and closed to workers."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from support.decoder_home import with_decoder
from support.tiny_families import LABELS, write_tiny
from support.tiny_llama import tiny_tensors, write_tiny_gguf
from support.tiny_marian import TEXT, write_tiny_marian
from support.word_overlap import WordOverlap

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.models.manifest import read_manifest
from inferstream.pipeline.models.metrics import CLASSIFY, GENERATE, TRANSLATE
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.evaluation.figures.translations import TranslatedTexts
from inferstream.pipeline.optimize.evaluation.models import Asked
from inferstream.pipeline.optimize.evaluation.text_models import evaluate_text_models
from inferstream.pipeline.optimize.pull.decoders.pulling import import_gguf
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.optimize.pull.translators import import_translator
from inferstream.pipeline.optimize.sample import load_sample
from inferstream.pipeline.tasks.classify.definition import ClassifyDefinition
from inferstream.pipeline.tasks.classify.settings import ClassifySettings
from inferstream.pipeline.tasks.generate.definition import GenerateDefinition
from inferstream.pipeline.tasks.generate.settings import GenerateSettings
from inferstream.pipeline.tasks.translate.definition import TranslateDefinition
from inferstream.pipeline.tasks.translate.settings import TranslateSettings

WORDS = TEXT.split()
TEXTS = [" ".join(WORDS[start : start + 5]) for start in range(len(WORDS) - 5)]


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    return ModelRegistry(judged=False)


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> None:
    if not find_spec("sacrebleu"):
        stand_in = SimpleNamespace(BLEU=WordOverlap, CHRF=WordOverlap)
        monkeypatch.setitem(sys.modules, "sacrebleu.metrics", stand_in)


def test_translators_are_compared_with_their_original_and_with_references(
    scores: None, registry: ModelRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_translator(registry, write_tiny_marian(tmp_path / "one"), quiet)
    import_translator(registry, write_tiny_marian(tmp_path / "two", seed=5), quiet, "translate-other")
    texts, references = tmp_path / "texts.txt", tmp_path / "references.txt"
    texts.write_text("\n".join(TEXTS))
    references.write_text("\n".join(TEXTS))
    given = [str(texts), "--reference", str(references), "--no-speed"]
    assert run(["models", "evaluate", "translate-xx-yy-int8", *given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["translate-xx-yy-fp32"]["evaluation"]["bleu"] == pytest.approx(100)
    one = found["translate-xx-yy-int8"]["evaluation"]
    assert 0 <= one["bleu"] <= 100 + 1e-9
    assert one["chrf"] > 0
    assert one["original_reference_bleu"] == found["translate-xx-yy-fp32"]["evaluation"]["reference_bleu"]

    original = ["--original", "translate-xx-yy-fp32"]
    assert run(["models", "evaluate", "translate-other-fp32", *given, *original]) == 0
    printed = capsys.readouterr().out
    assert "translate-other-fp32: Its translations have a BLEU of" in printed
    with pytest.raises(ModelError, match="translate-other-fp32 did not pass its gate"):
        TranslateDefinition().load(ModelRegistry(), "translate-other-fp32", TranslateSettings())
    assert run(["models", "evaluate", "translate-other-fp32", *given, *original, "--force"]) == 0
    TranslateDefinition().load(ModelRegistry(), "translate-other-fp32", TranslateSettings())
    judged = read_manifest(registry.manifest_path("translate-other", "fp32")).judgements
    assert judged[TRANSLATE].gate.forced


def test_a_reference_is_needed_for_each_text(scores: None, registry: ModelRegistry, tmp_path: Path) -> None:
    import_translator(registry, write_tiny_marian(tmp_path / "one"), quiet)
    asked = Asked(("translate-xx-yy-int8",), speeds=False)
    with pytest.raises(UsageError, match="3 texts and 2 references"):
        evaluate_text_models(registry, asked, TranslatedTexts(TEXTS[:3], TEXTS[:2]), quiet)


def test_decoders_are_compared_by_their_next_tokens(registry: ModelRegistry, tmp_path: Path) -> None:
    with_decoder(tmp_path)
    other = tmp_path / "other.gguf"
    write_tiny_gguf(other, tiny_tensors(9), kind="F32")
    import_gguf(registry, other, quiet, "other")
    texts = TranslatedTexts(TEXTS)
    found = evaluate_text_models(
        registry, Asked(("tiny-int8", "tiny-fp32"), thresholds={"max_kl": 0.3}), texts, quiet
    )
    same, near = found["tiny-fp32"].evaluation, found["tiny-int8"].evaluation
    assert (same.kl, same.top1) == (pytest.approx(0, abs=1e-9), 1.0)
    assert same.perplexity == same.original_perplexity == near.original_perplexity
    assert 0 < near.kl < 0.3
    assert near.perplexity == pytest.approx(same.perplexity, rel=0.3)
    GenerateDefinition().load(ModelRegistry(), "tiny-int8", GenerateSettings())

    asked = Asked(("other-fp32",), original="tiny-fp32")
    far = evaluate_text_models(registry, asked, texts, quiet)["other-fp32"]
    assert far.evaluation.kl > near.kl
    assert not far.gate.open
    assert read_manifest(registry.manifest_path("other", "fp32")).judgements[GENERATE] == far
    with pytest.raises(ModelError, match="other-fp32 did not pass its gate"):
        GenerateDefinition().load(ModelRegistry(), "other-fp32", GenerateSettings())
    forced = evaluate_text_models(registry, replace(asked, force=True), texts, quiet)["other-fp32"]
    assert forced.gate.forced


def test_models_of_several_kinds_or_originals_are_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    with_decoder(tmp_path)
    import_translator(registry, write_tiny_marian(tmp_path / "one"), quiet)
    texts = TranslatedTexts(TEXTS)
    with pytest.raises(UsageError, match="have several originals"):
        evaluate_text_models(registry, Asked(("tiny-int8", "translate-xx-yy-int8")), texts, quiet)
    with pytest.raises(UsageError, match="models of one kind"):
        evaluate_text_models(registry, Asked(("tiny-int8",), original="translate-xx-yy-fp32"), texts, quiet)
    with pytest.raises(UsageError, match="two tokens or more"):
        evaluate_text_models(registry, Asked(("tiny-int8",)), TranslatedTexts(["x"]), quiet)


def test_a_model_with_labels_of_its_own_is_measured_on_all_rows(
    registry: ModelRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pull(registry, "sorter", quiet, write_tiny(tmp_path / "sorter", "bert", classifier=True))
    sentences, _ = load_sample()
    labels = sorted(LABELS.values())
    rows = [f'"{text}",{labels[number % 3]}' for number, text in enumerate(sentences[:60]) if '"' not in text]
    data = tmp_path / "rows.csv"
    data.write_text("\n".join(["text,label", *rows]))
    limit = ["--threshold", "min_agreement=1.1"]
    assert run(["models", "evaluate", "sorter-int8", str(data), "--no-speed", *limit]) == 0
    assert f"{len(rows)} rows that nothing was made from; " in capsys.readouterr().out
    judgement = read_manifest(registry.manifest_path("sorter", "int8")).judgements[CLASSIFY]
    assert judgement.evaluation.agreement.value > 0.8
    assert judgement.evaluation.cosine_mean > 0.9
    with pytest.raises(ModelError, match="sorter-int8 did not pass its gate"):
        ClassifyDefinition().load(ModelRegistry(), "sorter-int8", ClassifySettings())
    assert run(["models", "choose", "sorter", "--min-agreement", "1"]) == 0
    assert "sorter-fp32 on cpu: the only one that fits" in capsys.readouterr().out
