"""The settings of the task `classify`."""

from typing import Final

from msgspec import Struct

from ...config import Share, Text

DEFAULT_MODEL: Final = "classifier"


class ClassifySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Labels of texts, by a classifier with a head of its own.

    Attributes:
        model: the classifier that answers requests which name none.
        threshold: the score that a label must reach, for requests that do not say one.
    """

    model: Text = DEFAULT_MODEL
    threshold: Share | None = None
