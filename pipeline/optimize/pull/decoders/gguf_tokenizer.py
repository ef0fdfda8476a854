"""The tokenizer and the chat template inside of a GGUF file, as the files that workers read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ....errors import ModelError, UsageError
from ....graphs.llama.gguf_model import short
from ....runtime.chat_template import ChatSettings

CONTROL = 3
USER_DEFINED = 4
NAMED = ("bos", "eos", "unknown", "padding")
ENDS = ("eos", "eot", "eom")

WORDS_AND_NUMBERS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Splitting(NamedTuple):
    """How a text is cut into words before the merges: by a pattern, or as in GPT-2 if there is none."""

    pattern: str | None = None
    single_digits: bool = False
    composed: bool = False  # to the form NFC
    whole_words: bool = False  # a word of the vocabulary is one token, whatever the merges say
    begins: bool = False  # with the token for a beginning, where the file says nothing of it


LLAMA_3 = Splitting(WORDS_AND_NUMBERS.format(digits="{1,3}"), whole_words=True, begins=True)
QWEN_2 = Splitting(WORDS_AND_NUMBERS.format(digits=""), composed=True)
SPLITTINGS = {
    "gpt-2": Splitting(),
    "smollm": Splitting(single_digits=True),
    "llama-bpe": LLAMA_3,
    "llama3": LLAMA_3,
    "llama-v3": LLAMA_3,
    "smaug-bpe": Splitting(LLAMA_3.pattern),  # SmolLM3: as Llama 3, without a beginning
    "qwen2": QWEN_2,
    "deepseek-r1-qwen": QWEN_2,
    "tekken": Splitting(TEKKEN, whole_words=True, begins=True),
}
"""By `tokenizer.ggml.pre`, as llama.cpp reads them."""


def tokenizer_of(settings: Mapping[str, Any], path: Path) -> Tokenizer:
    """The tokenizer in the settings of the file ``path``. Raises UsageError for what is not supported."""
    given = _Given(settings, path)
    kind = given.get("model")
    if kind != "gpt2":
        raise UsageError(
            f"{path} has tokenizer.ggml.model = {short(kind)}; only 'gpt2', the byte-level one, is supported: import "
            "the model from a folder that has its tokenizer.json."
        )
    pre = given.get("pre", "gpt-2")
    splitting = SPLITTINGS.get(pre) if isinstance(pre, str) else None
    if splitting is None:
        raise UsageError(
            f"{path} has tokenizer.ggml.pre = {short(pre)}; only {', '.join(SPLITTINGS)} are supported."
        )
    tokens = given.texts("tokens")
    parts = (merge.partition(" ") for merge in given.texts("merges"))
    merges = [(left, right) for left, _, right in parts]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if len(vocabulary) < len(tokens):
        raise ModelError(f"{path} has a token twice.")
    try:
        tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=splitting.whole_words))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{path} has merges that do not fit its tokens: {error}.") from error
    _split(tokenizer, splitting)
    _add_special(tokenizer, tokens, given.numbers("token_type", len(tokens)))
    tokenizer.decoder = decoders.ByteLevel()
    begin = given.named("bos")
    asked = given.get("add_bos_token")
    if asked and not begin:
        raise UsageError(
            f"{path} has tokenizer.ggml.add_bos_token and no token as tokenizer.ggml.bos_token_id."
        )
    if begin and (splitting.begins if asked is None else asked):
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[begin, "$A"], special_tokens=[(begin, vocabulary[begin])]
        )
    return tokenizer


def chat_of(settings: Mapping[str, Any], path: Path) -> ChatSettings:
    """The chat template and the named tokens; the template is empty if the file has none."""
    given = _Given(settings, path)
    template = given.get("chat_template", "", group="tokenizer")
    if not isinstance(template, str):
        raise UsageError(f"{path} has a tokenizer.chat_template that is no text.")
    return ChatSettings(template, {f"{_as_on_the_hub(name)}_token": given.named(name) for name in NAMED})


def ends_of(settings: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    """The tokens that end a text. Raises UsageError if there are none."""
    given = _Given(settings, path)
    found = [given.get(f"{name}_token_id", -1) for name in ENDS]
    ends = tuple(sorted({end for end in found if isinstance(end, int) and end >= 0}))
    if not ends:
        raise UsageError(f"{path} has no tokenizer.ggml.eos_token_id: nothing would end a text.")
    return ends


class _Given:
    """The settings of the tokenizer, each with its type checked."""

    def __init__(self, settings: Mapping[str, Any], path: Path) -> None:
        self._settings = settings
        self._path = path

    def get(self, name: str, default: Any = None, group: str = "tokenizer.ggml") -> Any:
        return self._settings.get(f"{group}.{name}", default)

    def texts(self, name: str) -> list[str]:
        found = self.get(name)
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise UsageError(f"{self._path} has no texts in tokenizer.ggml.{name}.")
        return found

    def numbers(self, name: str, count: int) -> list[int]:
        found = self.get(name, [1] * count)
        if (
            not isinstance(found, list)
            or len(found) != count
            or not all(isinstance(one, int) for one in found)
        ):
            raise UsageError(f"{self._path} has not {count} numbers in tokenizer.ggml.{name}.")
        return found

    def named(self, name: str) -> str:
        """The token that has this name; empty if there is none."""
        number = self.get(f"{name}_token_id")
        tokens = self.texts("tokens")
        return tokens[number] if isinstance(number, int) and 0 <= number < len(tokens) else ""


def _split(tokenizer: Tokenizer, splitting: Splitting) -> None:
    steps: list[Any] = []
    if splitting.composed:
        tokenizer.normalizer = normalizers.NFC()
    if splitting.single_digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if splitting.pattern:
        steps.append(pre_tokenizers.Split(Regex(splitting.pattern), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=splitting.pattern is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)


def _add_special(tokenizer: Tokenizer, tokens: list[str], kinds: list[int]) -> None:
    def of(kind: int) -> list[AddedToken]:
        special = kind == CONTROL
        return [
            AddedToken(token, special=special, normalized=False)
            for token, found in zip(tokens, kinds, strict=True)
            if found == kind
        ]

    tokenizer.add_special_tokens(of(CONTROL))
    tokenizer.add_tokens(of(USER_DEFINED))


def _as_on_the_hub(name: str) -> str:
    return {"unknown": "unk", "padding": "pad"}.get(name, name)
