"""The rows that models were fitted on: written down by a fit, and left out of what measures these models."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ...errors import UsageError, listed
from ...tasks.mail.cleaning import cleaned
from ...tasks.triage.fit_record import FIT_FILE, FitRecord, digest_of, digests_of, read_fit
from ...tasks.triage.head import HeadAccuracy, HeadStore, Serve
from ...tasks.triage.ticket_task import NONE
from ..machine.machine import this_machine, versions
from .labeled import Labeled


class LeftOut(NamedTuple):
    """What is left out of the rows that are given to measure models."""

    given: int = 0
    fitted: Mapping[str, int] = {}  # rows by the name of the model that was fitted on them
    unknown: Sequence[str] = ()  # models of which it is not known what they were fitted on


class UnseenRows(NamedTuple):
    """The rows that no model was fitted on."""

    rows: Labeled
    left_out: LeftOut


def files_with_fit(
    files: Mapping[str, bytes], rows: Labeled, measured: Mapping[Serve, HeadAccuracy] | None = None
) -> dict[str, bytes]:
    """The files of a fitted model, and the record of its fit on ``rows``, which are cleaned.

    ``measured``: what its tiers are together.
    """
    record = FitRecord(
        rows=len(rows.texts),
        rows_sha256=rows.digest,
        texts=digests_of(rows.texts),
        made_on=this_machine().name,
        made_with=versions(),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        measured=dict(measured or {}),
    )
    return {**files, FIT_FILE: record.encoded()}


def without_fitted(heads: HeadStore, names: Sequence[str], rows: Labeled) -> UnseenRows:
    """The rows that none of these models was fitted on; names of other models say nothing.

    Raises UsageError if no row is left, ModelError.
    """
    left: set[int] = set()
    fitted: dict[str, int] = {}
    unknown: list[str] = []
    for name in filter(heads.has, dict.fromkeys(names)):
        version = heads.current(name)
        record = read_fit(heads.root / name / version)
        if record is None:
            unknown.append(name)
            continue
        found = _rows_of(record, heads.load(name, version).cleaning, rows.texts)
        if found:
            fitted[name] = len(found)
        left |= found
    if len(left) == len(rows.texts):
        raise UsageError(
            f"All rows are among those that {listed(fitted)} {'was' if len(fitted) == 1 else 'were'} fitted on: give "
            "others to measure it."
        )
    kept = [i for i in range(len(rows.texts)) if i not in left]
    unseen = rows.at(kept)._replace(skipped=rows.skipped) if left else rows
    return UnseenRows(unseen, LeftOut(len(rows.texts), fitted, unknown))


def _rows_of(record: FitRecord, cleaning: str, texts: Sequence[str]) -> set[int]:
    """The indices of the texts that the model was fitted on, as they are or as it cleans them."""
    digests = record.digests
    found = {i for i, text in enumerate(texts) if digest_of(text) in digests}
    if cleaning == NONE:
        return found
    return found | {i for i, text in enumerate(texts) if digest_of(cleaned(text, cleaning)) in digests}
