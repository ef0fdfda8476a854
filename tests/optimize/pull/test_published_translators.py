"""The published translators against the native engine of their package, alone and in batches."""

from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
from support.native_translations import read_translations
from support.translators import TracedTranslator

from inferstream.pipeline.graphs.marian.shortlist import Shortlist
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.subwords import END, Subwords
from inferstream.pipeline.runtime.translator import SourceRow

EXPECTED = read_translations()
SAME_IN_INT8 = 0.7
"""Share of the texts. Of 997 sentences of news, int8 gave 71 and 79 % the very same words, at equal BLEU - 0.09."""


class Published(NamedTuple):
    vocabulary: Subwords
    translators: dict[str, TracedTranslator]
    expected: dict[str, str]

    def row(self, text: str) -> SourceRow:
        return SourceRow([*self.vocabulary.encode(text), END])


@pytest.fixture(scope="module", params=EXPECTED)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Pulls the model if it is not in the cache folder."""
    name = request.param
    manifests = pull(ModelRegistry(), name, lambda step, done, total: None)
    folder: Path = tmp_path_factory.mktemp(name)
    translators = {
        manifest.precision: TracedTranslator(
            onnx.load(manifest.graph_path),
            folder / f"{manifest.precision}.onnx",
            Shortlist(manifest.shortlist_path),
        )
        for manifest in manifests
    }
    return Published(Subwords(manifests[0].tokenizer_path), translators, EXPECTED[name])


def test_float32_equals_the_native_engine(published: Published) -> None:
    found = {text: _alone(published, "fp32", text) for text in published.expected}
    assert found == published.expected


def test_int8_is_close_to_it(published: Published) -> None:
    same = [_alone(published, "int8", text) == found for text, found in published.expected.items()]
    assert sum(same) >= SAME_IN_INT8 * len(same)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_company_changes_no_bit(published: Published, precision: str) -> None:
    translator = published.translators[precision]
    rows = [published.row(text) for text in published.expected][::3]
    assert translator.run(rows) == [translator.run([row])[0] for row in rows]


def _alone(published: Published, precision: str, text: str) -> str:
    (found,) = published.translators[precision].run([published.row(text)])
    return published.vocabulary.decode(found.tokens)
