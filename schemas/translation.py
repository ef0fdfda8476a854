"""The options and the output of the task `translate`."""

import msgspec
from msgspec import UNSET, Struct, UnsetType


class TranslateOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a translate request.

    Attributes:
        source: the language of the text, as "en". Without languages the first model of the worker answers.
        target: the language of the translation, as "pt".
        prefix: what the translation begins with: it is kept as it is, and only what follows is translated.
        glossary: terms and their translations, as {"inferstream": "inferstream"} for a term that stays as it is.
    """

    source: str | None = None
    target: str | None = None
    prefix: str = ""
    glossary: dict[str, str] = msgspec.field(default_factory=dict)


class TranslateOutput(Struct, frozen=True):
    """The translation of a text.

    Attributes:
        text: the whole translation, the prefix of the request included.
        source: the language of the text.
        target: the language of the translation.
        sentences: the number of sentences that the text was split into; each is translated alone.
        complete: false if a sentence was stopped because its translation became too long.
        note: a sentence, there only if the translation must be read with care: its text is of another script, a
            number or a link is lost.
    """

    text: str
    source: str
    target: str
    sentences: int = 1
    complete: bool = True
    note: str | UnsetType = UNSET
