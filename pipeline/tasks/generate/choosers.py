"""Makes what chooses the tokens of a request's texts."""

from collections.abc import Sequence

from msgspec import UNSET

from ....schemas.generation import GenerateOptions, Token
from ...errors import BadRequest
from .draws import Draws
from .grammar import Grammar, Grammars, GrammarState
from .text_chooser import TextChooser, needs_scores


class Choosers:
    """Of one model. Several threads may call it at once."""

    def __init__(self, grammars: Grammars | None) -> None:
        """``grammars``: None for a model whose texts can follow none."""
        self._grammars = grammars

    def of(
        self, options: GenerateOptions, request: str, prompt: Sequence[int], told: Sequence[Sequence[Token]]
    ) -> list[TextChooser | None]:
        """One for each choice; None takes the most likely token. Raises BadRequest, or Overloaded for now.

        Args:
            request: its id, which takes the place of a seed.
            told: of each choice, the tokens that it begins with.
        """
        if not needs_scores(options):
            return [None] * options.n
        grammar = self._grammar(options)
        seed = request if options.seed is None else options.seed
        choosers: list[TextChooser | None] = []
        for choice, tokens in enumerate(told):
            state = GrammarState(grammar) if grammar is not None else None
            chooser = TextChooser(options, prompt, Draws(seed, choice), state)
            for place, token in enumerate(tokens):
                if token.logprob is not UNSET:
                    chooser.logprobs[place] = token.logprob
            choosers.append(chooser)
        return choosers

    def _grammar(self, options: GenerateOptions) -> Grammar | None:
        if self._grammars is not None:
            return self._grammars.of(options)
        if options.json_schema is not None or options.regex is not None:
            raise BadRequest(
                "The texts of this model can follow no `json_schema` and no `regex`: leave the option out, or "
                "choose another model."
            )
        return None
