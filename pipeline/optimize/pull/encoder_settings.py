"""Reads the settings of a sentence encoder's folder: all that decides a vector besides config and weights.

The files are those of the library sentence-transformers. What the builder does not support is
refused by its name, because a graph without it would give other vectors.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct, field

from ...errors import UsageError
from ...graphs.bert.files import BYTE_ORDER_MARK
from ...graphs.bert.float32 import Pooling
from ...graphs.bert.labels import Labels, is_classifier, labels_in

Settings = TypeVar("Settings")

LIMITS = "sentence_bert_config.json"
MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"
FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "adapter_config.json",
    LIMITS,
    MODULES,
    PROMPTS,
)
MODULE_FOLDER = re.compile(r"\d+_\w+")
POOLING_FOLDER = "1_Pooling"
KNOWN_FOLDERS = re.compile(r"1_Pooling|\d+_Normalize")
POOLING_FIELDS: Mapping[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
SUPPORTED = "only the mean of the tokens, or the first token, is supported"


class EncoderSettings(Struct, frozen=True):
    """What the files say about windows and pooling, and notes for the user about what is not applied."""

    max_tokens: int
    pooling: Pooling
    notes: tuple[str, ...] = ()
    labels: Labels | None = None  # of a classifier


class _Limits(Struct):
    max_seq_length: int | None = None
    do_lower_case: bool = False


class _TokenizerLimits(Struct):
    model_max_length: float | None = None


class _Module(Struct):
    type: str
    path: str = ""


class _Prompts(Struct):
    prompts: dict[str, str | None] = field(default_factory=dict)
    default_prompt_name: str | None = None
    truncate_dim: int | None = None
    model_type: str = "SentenceTransformer"


def is_of_the_settings(name: str) -> bool:
    """Whether `read_settings` or the builder reads this file, by its path in the model's folder."""
    folder, _, rest = name.partition("/")
    return name in FILES or (rest == "config.json" and MODULE_FOLDER.fullmatch(folder) is not None)


class Sizes(Protocol):
    """What the settings are compared with: a BertConfig, or an ImportedConfig."""

    @property
    def hidden_size(self) -> int: ...

    @property
    def max_position_embeddings(self) -> int: ...


def read_settings(folder: Path, config: Sizes) -> EncoderSettings:
    """The settings of the encoder in ``folder``. Raises UsageError with the name of what is not supported."""
    if (folder / "adapter_config.json").exists():
        raise UsageError(f"{folder} has an adapter (adapter_config.json); merge it into the weights first.")
    max_tokens = _max_tokens(folder, config)
    path = folder / "config.json"
    found = _read(path, dict[str, Any])
    if is_classifier(found):
        return EncoderSettings(max_tokens, "head", labels=labels_in(found, path))
    return EncoderSettings(max_tokens, _pooling(folder, config), _prompts(folder))


def _max_tokens(folder: Path, config: Sizes) -> int:
    limits = _read(folder / LIMITS, _Limits)
    tokenizer = _read(folder / "tokenizer_config.json", _TokenizerLimits)
    if limits.do_lower_case and not _lowers_case(folder / "tokenizer.json"):
        raise UsageError(
            f"{folder / LIMITS} has do_lower_case = true and the tokenizer keeps upper case; "
            "set `lowercase` in tokenizer.json."
        )
    wanted = limits.max_seq_length
    if wanted is None:
        wanted = int(min(tokenizer.model_max_length or config.max_position_embeddings, 1e9))
    if wanted < 4:
        raise UsageError(f"{folder} allows {wanted} tokens for a text; at least 4 are needed.")
    return min(wanted, config.max_position_embeddings)


def _lowers_case(path: Path) -> bool:
    normalizer = _read(path, dict[str, Any]).get("normalizer") or {}
    parts = normalizer.get("normalizers", [normalizer])
    return any(part.get("lowercase") or part.get("type") == "Lowercase" for part in parts)


def _pooling(folder: Path, config: Sizes) -> Pooling:
    path = folder / MODULES
    if not path.exists():
        for found in sorted(folder.iterdir()):
            if (
                found.is_dir()
                and MODULE_FOLDER.fullmatch(found.name)
                and not KNOWN_FOLDERS.fullmatch(found.name)
            ):
                raise UsageError(f"{folder} has the module {found.name}, which is not supported.")
        pooling = folder / POOLING_FOLDER / "config.json"
        return _pooling_mode(pooling, config) if pooling.exists() else "mean"
    modules = _read(path, list[_Module])
    kinds = [module.type.rpartition(".")[2] for module in modules]
    for kind, module in zip(kinds, modules, strict=True):
        if kind not in {"Transformer", "Pooling", "Normalize"}:
            raise UsageError(
                f"{path} has the module {kind} ({module.path or module.type}), which is not supported: only "
                "Transformer, Pooling and Normalize are."
            )
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise UsageError(
            f"{path} has the modules {', '.join(kinds) or 'none'}; only Transformer and Pooling, and perhaps "
            "Normalize, in this order, are supported."
        )
    if modules[0].path.strip("./"):
        raise UsageError(
            f"{path} has the encoder in the folder {modules[0].path}; move its files beside modules.json, "
            "and make its path empty."
        )
    return _pooling_mode(folder / modules[1].path / "config.json", config)


def _pooling_mode(path: Path, config: Sizes) -> Pooling:
    """The one pooling that a file asks for, in either of its two formats."""
    if not path.exists():
        raise UsageError(f"{path} is missing, and modules.json asks for it.")
    fields = _read(path, dict[str, Any])
    width = fields.get("word_embedding_dimension", fields.get("embedding_dimension", config.hidden_size))
    if width != config.hidden_size:
        raise UsageError(f"{path} pools {width} dimensions, and config.json has {config.hidden_size}.")
    modes = fields.get("pooling_mode")
    if modes is not None:
        named = [modes] if isinstance(modes, str) else list(modes)
    else:
        given = {"pooling_mode_mean_tokens": True} | fields
        named = [name for name, value in given.items() if name.startswith("pooling_mode_") and value]
    known = {**POOLING_FIELDS, "mean": "mean", "cls": "cls"}
    if len(named) != 1 or named[0] not in known:
        raise UsageError(
            f"{path} asks for the pooling {' and '.join(map(str, named)) or 'none'}; {SUPPORTED}."
        )
    return known[named[0]]


def _prompts(folder: Path) -> tuple[str, ...]:
    path = folder / PROMPTS
    found = _read(path, _Prompts)
    if found.model_type != "SentenceTransformer":
        raise UsageError(
            f"{path} has model_type = {found.model_type!r}; only an encoder of sentences is supported."
        )
    if found.truncate_dim is not None:
        raise UsageError(
            f"{path} has truncate_dim = {found.truncate_dim}; shorter vectors are not supported."
        )
    if found.default_prompt_name and found.prompts.get(found.default_prompt_name) != "":
        prompt = found.prompts.get(found.default_prompt_name)
        raise UsageError(
            f"{path} puts the prompt {found.default_prompt_name!r} ({prompt!r}) before each text; prompts are "
            "not supported."
        )
    names = sorted(name for name, prompt in found.prompts.items() if prompt)
    if not names:
        return ()
    return (f"The model has the prompts {', '.join(names)}; none is put before a text.",)


def _read(path: Path, kind: type[Settings]) -> Settings:
    """The settings in ``path``, or the defaults if the file does not exist."""
    try:
        content = path.read_bytes().removeprefix(BYTE_ORDER_MARK) if path.exists() else None
        return kind() if content is None else msgspec.json.decode(content, type=kind)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} does not have the hub's format: {error}.") from error
