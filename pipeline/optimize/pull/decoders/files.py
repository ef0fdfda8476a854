"""What the files of a decoder say: the network, and how texts become its tokens. From GGUF, or as on the hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct, field
from tokenizers import Tokenizer

from ....errors import ModelError, UsageError
from ....graphs.llama.config import DecoderModel
from ....graphs.llama.gguf_file import read_gguf
from ....graphs.llama.gguf_model import gguf_model
from ....graphs.llama.hub_config import HubConfig, read_hub_config
from ....graphs.llama.hub_model import CONFIG, read_hub_model
from ....runtime.chat_template import ChatSettings, ChatTemplate
from .gguf_tokenizer import chat_of, ends_of, tokenizer_of

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION = "generation_config.json"
TEMPLATE = "chat_template.jinja"
SMALL_FILES = (CONFIG, TOKENIZER, TOKENIZER_CONFIG, GENERATION, TEMPLATE)
"""Of a folder in the hub's layout, besides the weights. Only the first two must be there."""

NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")
GENERATES = "ForCausalLM"

Settings = TypeVar("Settings")


class DecoderFiles(NamedTuple):
    """The network, and how texts become its tokens."""

    model: DecoderModel
    tokenizer: Tokenizer
    chat: ChatSettings
    ends: tuple[int, ...]


class _Architectures(Struct):
    architectures: list[str] | None = None


class _TokenizerConfig(Struct):
    chat_template: Any = None
    bos_token: Any = None
    eos_token: Any = None
    unk_token: Any = None
    pad_token: Any = None


class _GenerationConfig(Struct):
    eos_token_id: int | list[int] | None = None


class _NamedTemplate(Struct):
    name: str
    template: str


class _AddedToken(Struct):
    content: str = field(default="")


def read_gguf_files(path: Path) -> DecoderFiles:
    """Read a GGUF file and check it. Raises UsageError or ModelError."""
    file = read_gguf(path)
    model = gguf_model(file)
    tokenizer = tokenizer_of(file.settings, path)
    files = DecoderFiles(model, tokenizer, chat_of(file.settings, path), ends_of(file.settings, path))
    return _checked(files, path)


def is_generative(folder: Path) -> bool:
    """Whether `config.json` in a folder says that the model generates text."""
    try:
        found = msgspec.json.decode((folder / CONFIG).read_bytes(), type=_Architectures)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False  # it is told by what reads the file next
    return any(name.endswith(GENERATES) for name in found.architectures or ())


def read_hub_files(folder: Path) -> DecoderFiles:
    """Read a folder in the hub's layout and check it. Raises UsageError or ModelError."""
    tokenizer, chat, ends = read_small_files(folder)
    return _checked(DecoderFiles(read_hub_model(folder), tokenizer, chat, ends), folder)


def read_small_files(folder: Path) -> tuple[Tokenizer, ChatSettings, tuple[int, ...]]:
    """All but the weights. Raises UsageError or ModelError."""
    path = folder / TOKENIZER
    if not path.is_file():
        raise UsageError(f"{folder} has no {TOKENIZER}: only models that have it are supported.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"Cannot read the tokenizer {path}: {error}.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    config = _read(folder / TOKENIZER_CONFIG, _TokenizerConfig)
    names = {name: _content(getattr(config, name)) for name in NAMED}
    chat = ChatSettings(_template(folder, config), names)
    return tokenizer, chat, _ends(folder, read_hub_config(folder / CONFIG), tokenizer, names["eos_token"])


def _checked(files: DecoderFiles, path: Path) -> DecoderFiles:
    words = files.model.config.words
    largest = max(files.tokenizer.get_vocab().values(), default=0)
    if largest >= words:
        raise ModelError(f"{path} has the token {largest}, and its table has {words}.")
    if outside := [end for end in files.ends if not 0 <= end < words]:
        raise ModelError(f"{path} has the end token {outside[0]}, and its table has {words}.")
    if files.chat.template:
        ChatTemplate(files.chat)
    return files


def _template(folder: Path, config: _TokenizerConfig) -> str:
    """The chat template: of its own file, or of the tokenizer's settings; empty if there is none."""
    if (folder / TEMPLATE).is_file():
        try:
            return (folder / TEMPLATE).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"Cannot read {folder / TEMPLATE}: {error}.") from error
    found = config.chat_template
    if found is None or isinstance(found, str):
        return found or ""
    try:
        several = msgspec.convert(found, list[_NamedTemplate])
        return next(one.template for one in several if one.name == "default")
    except (msgspec.ValidationError, StopIteration) as error:
        raise UsageError(
            f"{folder / TOKENIZER_CONFIG} has no chat_template that is named default."
        ) from error


def _ends(folder: Path, config: HubConfig, tokenizer: Tokenizer, named: str) -> tuple[int, ...]:
    """The tokens that end a text: all that the files name. Raises UsageError if there are none."""
    generation = _read(folder / GENERATION, _GenerationConfig)
    ends = {*_listed(config.eos_token_id), *_listed(generation.eos_token_id)}
    if named and (number := tokenizer.token_to_id(named)) is not None:
        ends.add(number)
    if not ends:
        raise UsageError(f"{folder} has no eos_token_id: nothing would end a text.")
    return tuple(sorted(ends))


def _listed(value: int | list[int] | None) -> Sequence[int]:
    if value is None:
        return ()
    return value if isinstance(value, list) else [value]


def _content(token: Any) -> str:
    """The text of a token, which is written as text, as an object, or null."""
    if isinstance(token, str):
        return token
    return msgspec.convert(token, _AddedToken).content if isinstance(token, dict) else ""


def _read(path: Path, kind: type[Settings]) -> Settings:
    """The settings in ``path``; those of no file at all have no names."""
    if not path.is_file():
        return kind()
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {error}.") from error
