"""The task `generate` for the engine: options, prompts as rows, and texts of their tokens."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ....schemas.generation import Choice, GenerateOptions, GenerateOutput, Token, Usage
from ....schemas.messages import Request
from ...errors import TooLarge
from ...models.manifest import Manifest
from ...runtime.generated_row import CHUNK
from ...runtime.model import Row
from ..base import Ask, Finished
from ..digests import digest_of
from .choosers import Choosers
from .growing_text import GrowingText
from .options import generate_options
from .prompts import PromptMaker
from .reading import Prompt, read_prompt
from .stops import StopStrings
from .text_row import TextRow

CODE_VERSION: Final = b"generate 2"  # must change when this code makes another answer of the same tokens
CHARACTERS_OF_A_TOKEN: Final = 4
"""About as many as of English texts, to predict how many steps a prompt takes."""


class Generate:
    """The task `generate`, see `tasks/base.Task`."""

    name = "generate"
    chosen_by: Mapping[str, str] = MappingProxyType({})
    resumes = True

    def __init__(self, model: str, manifest: Manifest, prompts: PromptMaker, choosers: Choosers) -> None:
        """Serve the decoder of ``manifest`` under the name ``model``."""
        self.model = model
        self._ends = frozenset(manifest.end_ids)
        self._prompts = prompts
        self._choosers = choosers
        self._tokens = prompts.tokens
        context = str(self._tokens.max_tokens).encode()
        self.digest = digest_of(CODE_VERSION, manifest.digest, context)
        self.version = self.digest.hex()[:12]

    def options(self, given: Mapping[str, Any]) -> GenerateOptions:
        """The checked options. Raises UnknownOption, WrongType or BadRequest."""
        return generate_options(self.name, given)

    def repeats(self, options: GenerateOptions) -> bool:
        """Whether no chance decides, or only that of the seed."""
        return options.temperature == 0 or options.seed is not None

    def agrees(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether both give the same texts, see `tasks/base.agree`.

        The tokens that were kept of a prompt depend on what each was asked before.
        """
        first, second = ([choice["text"] for choice in answer["choices"]] for answer in (one, other))
        return first == second

    def read(self, request: Request) -> Prompt:
        """The text or the messages in normal form. Raises MissingText, BlankText or BadRequest."""
        return read_prompt(request)

    def further_steps(self, ask: Ask) -> float:
        """The chunks of the prompt but one, and the tokens that may be generated."""
        prompt: Prompt = ask.content
        characters = len(prompt.text or "") + sum(len(message.content) for message in prompt.messages)
        chunks = min(characters // CHARACTERS_OF_A_TOKEN, self._tokens.max_tokens) // CHUNK
        return float(chunks + min(ask.options.max_tokens, self._tokens.max_tokens) - 1)

    def rows_of(self, ask: Ask) -> int:
        """One for each choice, however long the prompt is; see `base.known_rows`."""
        n: int = ask.options.n
        return n

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        """A row for each choice, which goes on behind the tokens that were told. Raises TooLarge or another BadRequest.

        ``max_tokens``: of all choices, prompts and what may be generated.
        """
        return [self._rows(ask, max_tokens) for ask in asks]

    def _rows(self, ask: Ask, max_tokens: int | None) -> list[Row]:
        options: GenerateOptions = ask.options
        prompt = self._prompts.prompt(ask.content, options)
        self._check_work(len(prompt), options, max_tokens)
        stops = StopStrings(options.stop) if options.stop else None
        told: list[list[Token]] = [[] for _ in range(options.n)]
        for piece in ask.told:
            told[piece.choice].append(piece)
        choosers = self._choosers.of(options, ask.id, prompt, told)
        # What the context has no room for cannot come: the engine expects no steps for it.
        most = min(options.max_tokens, self._tokens.max_tokens - len(prompt) + 1)
        rows: list[Row] = []
        for choice, chooser in enumerate(choosers):
            text = GrowingText(self._tokens.stream(), stops.search() if stops is not None else None)
            row = TextRow(prompt, most, self._ends, text, choice, chooser)
            row.forced = [token.token for token in told[choice]]
            rows.append(row)
        return rows

    def _check_work(self, prompt: int, options: GenerateOptions, most: int | None) -> None:
        """Raise TooLarge for a request that may cost the device more than ``most`` tokens."""
        further = min(options.max_tokens, self._tokens.max_tokens - prompt + 1)
        if most is not None and options.n * (prompt + further) > most:
            raise TooLarge(
                f"{options.n} choices of a prompt of {prompt} tokens and up to {further} generated ones are more than "
                f"the {most} tokens allowed: ask for fewer, or raise `max_request_tokens` in the worker's settings."
            )

    def tell(self, pieces: Sequence[Any], start: int) -> bytes:
        """The tokens from ``start`` on: they are settled."""
        return msgspec.json.encode(pieces[start:])

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of a GenerateOutput for each request."""
        return [msgspec.json.encode(_output(one.rows, one.options)) for one in finished]


def _output(rows: Sequence[Row], options: GenerateOptions) -> GenerateOutput:
    logprobs = options.logprobs is not None
    choices = [_choice(row, logprobs) for row in rows if isinstance(row, TextRow)]
    first = rows[0]
    assert isinstance(first, TextRow)
    generated = sum(len(choice.tokens) for choice in choices)
    return GenerateOutput(choices, Usage(len(first.prompt), first.cached, generated))


def _choice(row: TextRow, logprobs: bool) -> Choice:
    added = row.text.added
    return Choice(
        "".join(added),
        row.generated,
        [len(text) for text in added],
        row.ended_by,
        [row.logprobs[place] for place in range(len(added))] if logprobs else UNSET,
    )
