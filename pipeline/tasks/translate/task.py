"""The task `translate` for the engine: options, sentences as rows, and a text of their translations."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ....schemas.translation import TranslateOptions, TranslateOutput
from ...errors import WrongType
from ...models.manifest import Manifest
from ...runtime.model import Row
from ...runtime.subwords import END, Subwords
from ...runtime.translator import SourceRow
from ..base import Ask, Finished
from ..digests import digest_of
from ..options import checked_options
from ..text import TextTask

CODE_VERSION: Final = (
    b"translate 1"  # must change when this code gives another answer to the same translations
)


class Translate(TextTask):
    """The task `translate`, see `tasks/base.Task`."""

    name = "translate"

    def __init__(self, model: str, manifest: Manifest, subwords: Subwords) -> None:
        """Serve the translator of ``manifest`` under the name ``model``."""
        self.model = model
        self._manifest = manifest
        self._subwords = subwords
        source, _, target = manifest.pair.partition("-")
        self.chosen_by = {"source": source, "target": target} if manifest.pair else {}
        self._source, self._target = source, target
        self.digest = digest_of(CODE_VERSION, manifest.digest)
        self.version = self.digest.hex()[:12]

    def options(self, given: Mapping[str, Any]) -> TranslateOptions:
        """The checked options. Raises UnknownOption or WrongType."""
        options = checked_options(self.name, given, TranslateOptions)
        for name, asked in (("source", options.source), ("target", options.target)):
            own = self.chosen_by.get(name)
            if asked is None or asked == own:
                continue
            if own is None:
                raise WrongType(f"{self.model} does not say its languages: leave the option {name!r} out.")
            raise WrongType(f"The option {name!r} must be {own!r} with {self.model}, not {asked[:20]!r}.")
        return options

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        """The rows of each text."""
        return [
            [SourceRow([*self._subwords.encode(ask.content), END], self._subwords.encode(ask.options.prefix))]
            for ask in asks
        ]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of a TranslateOutput for each request."""
        return [self._answer(one) for one in finished]

    def _answer(self, one: Finished) -> bytes:
        (translation,) = one.outputs
        text = one.options.prefix + self._subwords.decode(translation.tokens)
        return msgspec.json.encode(
            TranslateOutput(text, self._source, self._target, complete=translation.ended)
        )
