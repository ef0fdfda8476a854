"""Adds a static tier to a fitted head, and compares what each tier costs and wins."""

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from msgspec import UNSET, Struct
from msgspec.structs import replace
from threadpoolctl import threadpool_limits

from ...models.manifest import Manifest
from ...runtime.graph import Graph
from ...runtime.tokenizer import Tokenizer
from ...tasks.pooling import embed
from ...tasks.triage.head import (
    ENCODER_TIER,
    STATIC_TIER,
    TOKENIZER_FILE,
    Head,
    HeadAccuracy,
    Serve,
    StaticPart,
)
from ...tasks.triage.static_file import STATIC_FILE
from ...tasks.triage.static_tier import StaticTier
from ...tasks.triage.taxonomy import Taxonomy
from .fit import Fitted, accuracy_of
from .report import Progress, Scored, TriageReport, measure
from .static.fit import fit_static
from .tiers import static_logits

TIMED_TEXTS: Final = 256
TIMED_S: Final = 0.5  # at least


class TierReport(Struct, frozen=True):
    """A tier on the test tickets. ``by_static``: the share of them that the static tier answers."""

    tier: Serve
    accuracy: float
    macro_f1: float
    calibration_error: float
    by_static: float
    size_bytes: int  # of all files that are needed to serve it
    tickets_per_s: float  # on one core of this machine, with tokenizing


class FitEncoder(NamedTuple):
    """The encoder that a model is fitted on."""

    manifest: Manifest
    tokenizer: Tokenizer
    session: Graph


class FittedTiers(NamedTuple):
    """A head with its tiers, and what to store beside it."""

    head: Head
    files: dict[str, bytes]
    reports: list[TierReport]
    report: TriageReport  # of the tier that is served
    static_folds: tuple[StaticTier, ...]  # each was trained without the rows of one of the teacher's folds
    changed_on_test: float = (
        0.0  # share of the test tickets to which the cascade answers otherwise than the encoder
    )
    measured_both: Mapping[Serve, HeadAccuracy] = MappingProxyType({})  # of the cascade and the ensemble


def fit_tiers(
    fitted: Fitted, encoder: FitEncoder, taxonomy: Taxonomy, serve: Serve, progress: Progress
) -> FittedTiers:
    """Train a static tier beside the head of ``fitted``, and measure both on the test tickets.

    ``serve``: the tier that is to answer. The tier learns the meaning of the urgent phrases of ``taxonomy``.
    """
    manifest, tokenizer, session = encoder
    rows = fitted.rows
    trained = fit_static(rows, fitted.teacher, tokenizer, session, taxonomy, progress)
    tier = StaticTier(trained.arrays)
    files = {
        STATIC_FILE: trained.arrays.encoded(),
        TOKENIZER_FILE: Path(manifest.tokenizer_path).read_bytes(),
    }
    logits = static_logits(tier, tokenizer, rows.test.texts, progress)
    made = Scored(rows.labels, logits * np.float32(tier.temperature), tier.temperature)
    report = measure(made, rows.test_truth)
    static = StaticPart(
        weights_sha256=sha256(files[STATIC_FILE]).hexdigest(),
        tokenizer_sha256=sha256(files[TOKENIZER_FILE]).hexdigest(),
        max_tokens=manifest.max_tokens,
        pad_id=manifest.pad_id,
        measured=accuracy_of(rows, made, report),
    )
    texts = rows.test.texts
    encoder_bytes = sum(Path(path).stat().st_size for path in manifest.digests) + len(fitted.head.encoded())
    with_encoder = _tickets_per_s(lambda some: embed(some, tokenizer, session), texts)
    without = _tickets_per_s(lambda some: tier.logits(tokenizer.encode(some)), texts)
    return FittedTiers(
        head=replace(fitted.head, static=static, serve=UNSET if serve == ENCODER_TIER else serve),
        files=files,
        reports=[
            _tier_report(ENCODER_TIER, fitted.report, encoder_bytes, with_encoder),
            _tier_report(STATIC_TIER, report, sum(map(len, files.values())), without),
        ],
        report=report if serve == STATIC_TIER else fitted.report,
        static_folds=trained.folds,
    )


def _tier_report(tier: Serve, report: TriageReport, size_bytes: int, tickets_per_s: float) -> TierReport:
    return TierReport(
        tier,
        report.accuracy,
        report.macro_f1,
        report.calibration_error,
        float(tier == STATIC_TIER),
        size_bytes,
        tickets_per_s,
    )


def _tickets_per_s(read: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    """How many texts ``read`` reads in a second of CPU time, of up to `TIMED_TEXTS`, again and again for `TIMED_S`.

    NumPy multiplies in one thread, as in a worker (`serving/tuning`), and other processes do not count.
    """
    some = texts[:TIMED_TEXTS]
    done = 0
    with threadpool_limits(1):
        read(some[:1])  # the first run allocates
        began = time.process_time()
        while (took := time.process_time() - began) < TIMED_S or not done:
            read(some)
            done += len(some)
    return done / took
