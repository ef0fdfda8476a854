"""The requests and answers of the task `generate`."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from .messages import Request

MAX_GENERATED = 131_072
MAX_CHOICES = 128
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256


class ChatMessage(Struct, frozen=True):
    """One turn of a conversation.

    Attributes:
        role: system, user, assistant or tool.
        content: the text of the turn.
    """

    role: str
    content: str


class GenerateRequest(Request, frozen=True):
    """A request for a text that goes on from another one, or that answers a conversation: exactly one of both.

    Attributes:
        text: a raw prompt. The model goes on with it as it is, special tokens included.
        messages: a conversation; the chat template of the model makes the prompt of it.
    """

    messages: list[ChatMessage] | UnsetType = UNSET


class GenerateOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a generate request.

    Attributes:
        max_tokens: how many tokens are generated at most, for each choice. The context of the model ends a text, too.
        stop: strings that end a text. The text ends before the first one that it has.
        temperature: 0 takes the most likely token; with more, the others have a chance, too.
        top_p: only the most likely tokens whose probabilities add up to this are chosen from; 1 is all.
        top_k: only this number of most likely tokens is chosen from; 0 is all.
        min_p: only tokens are chosen from that are at least this times as likely as the most likely one.
        repetition_penalty: above 1, tokens that were in prompt or text are less likely.
        seed: equal requests with equal seeds have equal answers.
        logprobs: tell the logarithm of each token's probability, and those of this number of most likely tokens.
        json_schema: the text is JSON that is valid in this JSON Schema.
        regex: the whole text matches this regular expression.
        n: how many texts are generated for the one prompt.
        too_long: what happens to a prompt that is longer than the context: "refuse" it, or keep what a "window" of the
            context holds, without the oldest turns, or the beginning of a text.
    """

    max_tokens: Annotated[int, Meta(ge=1, le=MAX_GENERATED)] = 256
    stop: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=MAX_STOP_CHARACTERS)]], Meta(max_length=MAX_STOPS)
    ] = msgspec.field(default_factory=list)
    temperature: Annotated[float, Meta(ge=0, le=100)] = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Meta(gt=0, le=100)] = 1.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    json_schema: dict[str, Any] | None = None
    regex: Annotated[str, Meta(min_length=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] = 1
    too_long: Literal["refuse", "window"] = "refuse"


class LikelyToken(Struct, frozen=True):
    """A token that could have been chosen, and the logarithm of its probability, in nats."""

    token: int
    logprob: float


class TokenLogprobs(Struct, frozen=True):
    """The logarithm of a token's probability, in nats, and the most likely tokens at its place."""

    logprob: float
    top: list[LikelyToken] = []


class Token(Struct, frozen=True, omit_defaults=True):
    """One token of an answer that is still being made.

    Attributes:
        token: its number in the model's vocabulary.
        text: what it adds to the text of its choice: nothing while a character is not complete, or while a stop string
            may have begun. A later token of the choice then brings it.
        choice: which of the choices it belongs to.
        logprob: there only if the request asks for it.
    """

    token: int
    text: str
    choice: int = 0
    logprob: TokenLogprobs | UnsetType = UNSET


class Choice(Struct, frozen=True):
    """One generated text.

    Attributes:
        text: the text, without a stop string.
        tokens: what was generated, with the tokens of a stop string, and without the model's token for an end.
        added: for each token, the number of characters (code points) that it has added to the text.
        ended_by: the model's "end", a "stop" string, or the "length": max_tokens are reached, or the context is full.
        logprobs: of each token; there only if the request asks for them.
    """

    text: str
    tokens: list[int]
    added: list[int]
    ended_by: Literal["end", "stop", "length"]
    logprobs: list[TokenLogprobs] | UnsetType = UNSET


class Usage(Struct, frozen=True):
    """How many tokens a request took.

    Attributes:
        prompt_tokens: of the prompt, which all choices share.
        cached_tokens: those of them that need not be computed, since an earlier request had the same beginning.
        generated_tokens: of all choices.
    """

    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int


class GenerateOutput(Struct, frozen=True):
    """The generated texts, `n` of them, and what they took.

    Attributes:
        text: that of the first choice; most requests have one.
    """

    choices: list[Choice]
    usage: Usage
    text: str = ""

    def __post_init__(self) -> None:
        if not self.text and self.choices:  # made by a program, or by a worker that did not tell it
            structs.force_setattr(self, "text", self.choices[0].text)


def tokens_of(output: GenerateOutput) -> list[Token]:
    """All tokens of an answer as its chunks bring them: one choice behind the other."""
    return [token for number, choice in enumerate(output.choices) for token in _tokens_of(choice, number)]


def _tokens_of(choice: Choice, number: int) -> list[Token]:
    tokens = []
    begin = 0
    for index, (token, count) in enumerate(zip(choice.tokens, choice.added, strict=True)):
        logprob = choice.logprobs[index] if choice.logprobs else UNSET
        tokens.append(Token(token, choice.text[begin : begin + count], number, logprob))
        begin += count
    return tokens
