"""Chat templates: the messages of a conversation become the text that a model goes on with.

Models bring their templates, so they run in a sandbox: a template sees what it is given and nothing of the process,
and what it may cost is bounded (`template_limits`).
The names that it may use are those of `transformers`, for which templates are written.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import msgspec
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from msgspec import Struct

from ..errors import BadRequest, ModelError, TooLarge
from .template_limits import BoundedEnvironment, TooMuchWork

MAX_CHARACTERS = 4_000_000
"""Of a text: a template that repeats without an end is stopped here."""


MAX_REASON = 200
"""Characters of what a template says in a sentence of ours."""


class ChatSettings(Struct, frozen=True):
    """What a model's files say about conversations: the template, and its tokens by their names there."""

    template: str
    tokens: Mapping[str, str]


class _Refused(Exception):
    """A template has called raise_exception."""


class _Generation(Extension):
    """`{% generation %}`, which marks what a model is trained on, changes nothing here."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """The template of one model. Several threads may call it at once."""

    def __init__(self, settings: ChatSettings) -> None:
        """Raises ModelError for a template that cannot be read."""
        if not settings.template:
            raise ModelError(
                "The model's files have no chat template: it can go on with a text, and cannot chat."
            )
        environment = BoundedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.add_filter("tojson", _as_json)
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _now
        self._environment = environment
        self._tokens = settings.tokens
        try:
            self._template = environment.from_string(settings.template)
        except (jinja2.TemplateError, RecursionError) as error:
            raise ModelError(f"The model's chat template cannot be read: {_sentence(error)}.") from error

    def text(self, messages: Sequence[Mapping[str, Any]], *, answering: bool = True, **names: Any) -> str:
        """The text of a conversation; ``answering``: it ends where the model's answer begins.

        Args:
            names: further names for the template, as ``tools`` or ``enable_thinking``.

        Raises BadRequest with the template's own words for messages that it refuses, TooLarge.
        """
        given = {**self._tokens, **names, "messages": messages, "add_generation_prompt": answering}
        parts = []
        length = 0
        self._environment.begin()
        try:
            for part in self._template.generate(given):
                parts.append(part)
                length += len(part)
                if length > MAX_CHARACTERS:
                    raise TooLarge(
                        f"The conversation has more than {MAX_CHARACTERS} characters: send fewer turns."
                    )
        except _Refused as error:
            raise BadRequest(
                f"The model's chat template refuses the messages: {_sentence(error)}."
            ) from error
        except TooMuchWork as error:
            raise BadRequest(
                f"The model's chat template does too much with these messages: {_sentence(error)}. Send fewer turns."
            ) from error
        except BadRequest:
            raise
        except Exception as error:  # a template is a program of a stranger
            raise BadRequest(
                f"The model's chat template cannot use the messages: {_sentence(error)}."
            ) from error
        return "".join(parts)


def read_chat(path: Path | str) -> ChatSettings:
    """The settings that a pull has written. Raises ModelError."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=ChatSettings)
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror}.") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"{path} is damaged ({error}); pull the model again.") from error


def _refuse(message: object) -> NoReturn:
    raise _Refused(str(message))


def _as_json(value: Any, indent: int | None = None, **_: Any) -> str:
    import json  # as `transformers` writes it, spaces included

    return json.dumps(value, ensure_ascii=False, indent=indent)


def _now(form: str) -> str:
    return datetime.now(UTC).astimezone().strftime(form)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
    return text.rstrip(".")
