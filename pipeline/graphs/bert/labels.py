"""The labels of a classifier, as its ``config.json`` names them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from ...errors import UsageError

CLASSIFIES = "ForSequenceClassification"  # how the names of architectures with such a head end
MULTI_LABEL = "multi_label_classification"
KINDS = (None, "single_label_classification", MULTI_LABEL)
DEFAULT_LABELS = 2  # where `config.json` says nothing
MAX_LABELS = 10_000


class Labels(Struct, frozen=True):
    """The labels in the order of the scores, and whether a text may have several of them."""

    names: tuple[str, ...]
    multi_label: bool = False


def is_classifier(found: Mapping[str, Any]) -> bool:
    """Whether the settings in `config.json` are those of a classifier of texts."""
    architectures = found.get("architectures")
    return isinstance(architectures, list) and any(str(one).endswith(CLASSIFIES) for one in architectures)


def labels_in(found: Mapping[str, Any], path: Path) -> Labels:
    """The labels of a classifier. Raises UsageError if there are none, or if it does not choose among labels."""
    kind = found.get("problem_type")
    if kind not in KINDS:
        raise UsageError(f"{path} has problem_type = {kind!r}; only classifiers with labels are supported.")
    names = _names(found, path)
    if len(names) == 1 and kind != MULTI_LABEL:
        raise UsageError(
            f"{path} has one label ({names[0]}): a model that gives a number, or judges pairs of texts, which is not "
            "supported; only classifiers of one text are."
        )
    if len(set(names)) < len(names) or not all(names):
        raise UsageError(f"{path} has labels in id2label that are equal or empty.")
    return Labels(names, kind == MULTI_LABEL)


def _names(found: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    named = found.get("id2label")
    if named is None:
        count = found.get("num_labels", DEFAULT_LABELS)
        numbers = range(count if isinstance(count, int) and 0 < count <= MAX_LABELS else 0)
        named = {str(number): f"LABEL_{number}" for number in numbers}
    wanted = [str(number) for number in range(len(named))] if isinstance(named, dict) else []
    if not wanted or len(wanted) > MAX_LABELS or set(wanted) != named.keys():
        raise UsageError(f"{path} has an id2label that does not name the labels 0, 1, 2 and so on.")
    return tuple(str(named[number]) for number in wanted)
