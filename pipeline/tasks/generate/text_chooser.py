"""Chooses the tokens of one text by the options of its request."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....schemas.generation import GenerateOptions, TokenLogprobs
from .draws import Draws
from .grammar import GrammarState
from .likelihoods import logprobs_of
from .sampling import Sampling, best, drawn, penalized

NO_DRAWS: Final = Draws(0, 0)


def needs_scores(options: GenerateOptions) -> bool:
    """Whether the most likely token of the model alone does not do."""
    return (
        options.temperature > 0
        or options.repetition_penalty != 1
        or options.logprobs is not None
        or options.json_schema is not None
        or options.regex is not None
    )


class TextChooser:
    """See `TokenChooser`. What it chooses is a function of its arguments; it keeps only what saves work."""

    def __init__(
        self,
        options: GenerateOptions,
        prompt: Sequence[int],
        draws: Draws = NO_DRAWS,
        grammar: GrammarState | None = None,
    ) -> None:
        self._prompt = prompt
        self._draws = draws
        self._grammar = grammar
        self._penalty = options.repetition_penalty
        self._count = options.logprobs
        self._sampling = (
            Sampling(options.temperature, options.top_k, options.top_p, options.min_p)
            if options.temperature > 0
            else None
        )
        self._seen: NDArray[np.bool_] | None = None
        self._read = 0
        self.logprobs: dict[int, TokenLogprobs] = {}
        """By the place of a token, if they are asked for."""

    def choose(self, scores: NDArray[np.float32], generated: Sequence[int]) -> int:
        """The next token. Raises BadRequest if no text of the grammar goes on, DeviceError for unsound scores."""
        place = len(generated)
        values = scores
        if self._penalty != 1:
            values = penalized(scores, np.flatnonzero(self._seen_in(scores.size, generated)), self._penalty)
        allowed = self._grammar.allowed(generated) if self._grammar is not None else None
        if allowed is not None:
            values = values[allowed]
        index = (
            drawn(values, self._sampling, self._draws.at(place))
            if self._sampling is not None
            else best(values)
        )
        token = int(allowed[index]) if allowed is not None else index
        if self._count is not None:
            self.logprobs[place] = logprobs_of(scores, token, self._count)
        return token

    def _seen_in(self, words: int, generated: Sequence[int]) -> NDArray[np.bool_]:
        """Of each token of the vocabulary, whether prompt or text has it."""
        seen = self._seen
        if seen is None:
            seen = self._seen = np.zeros(words, np.bool_)
            seen[list(self._prompt)] = True
        seen[list(generated[self._read :])] = True
        self._read = len(generated)
        return seen
