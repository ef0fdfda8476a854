"""The settings of the task `translate`."""

from msgspec import Struct

from ...config import Text


class TranslateSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Translation of texts.

    Attributes:
        model: the model that answers requests which name neither a model nor languages.
        models: further models, for other languages or the other direction, as ["translate-pt-en-int8"].
        glossary: file with terms that must not be translated, or must be translated so: .csv, .tsv, .jsonl or .toml.
    """

    model: Text = "translate-en-pt-int8"
    models: tuple[Text, ...] = ()
    glossary: Text | None = None
