"""`models evaluate` for encoders and fitted models: which original each has, and on which rows it is measured."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct

from ...errors import UsageError
from ...models.judgements import write_judgement
from ...models.manifest import CLASSIFIER, ENCODER
from ...models.metrics import CLASSIFY, Evaluation, Judgement
from ...models.registry import ModelRegistry
from ...tasks.triage.definition import TRIAGE
from ...tasks.triage.head import HeadStore
from ..triage.fit import SEED, check_rows, hold_out
from ..triage.fitted_rows import LeftOut
from ..triage.labeled import Labeled
from ..triage.regression import FOLDS
from ..triage.report import Progress
from .extra_sets import ExtraSets
from .figures.classifiers import evaluate
from .figures.memory import MeasuredModel, with_memory
from .gates import DEFAULTS, judge
from .keeping import keep_judgement, original_name
from .originals import HowServed, original_of
from .served_model import ServedModel
from .served_models import classifier, fitted_encoder, fitted_model, zero_shot_encoder

MAX_FITTED: Final = 8_000  # rows of heads that are fitted to measure
MAX_JUDGED: Final = 4_000


class Asked(Struct, frozen=True):
    """What to measure, and how."""

    names: tuple[str, ...]
    original: str | None = (
        None  # None: the float32 variant, or what a pruned one was made of; of fitted models see `originals`
    )
    zero_shot: bool = False
    taxonomy: str | None = None
    provider: str | None = None
    thresholds: Mapping[str, float] = {}  # none: the default ones of the use
    force: bool = False
    speeds: bool = True


class JudgedRows(NamedTuple):
    """``fitted`` are for heads that are fitted to measure; all models are judged on ``unseen``."""

    fitted: Labeled
    unseen: Labeled
    left_out: LeftOut = LeftOut()


def evaluate_models(
    registry: ModelRegistry, asked: Asked, rows: JudgedRows, sets: ExtraSets, progress: Progress
) -> dict[str, Judgement]:
    """Measure and judge each model, and keep the judgement with it; also that of the originals.

    ``registry`` must not refuse closed gates. Raises UsageError, UnknownModel, ModelError.
    """
    return _Measuring(registry, asked, rows, progress).all(sets)


def split_rows(rows: Labeled, test: Labeled | None) -> JudgedRows:
    """``rows`` without a fifth, and that fifth, or ``test`` without the texts of ``rows``; both no more than needed.

    Raises UsageError for a label with too few rows.
    """
    if test is None:
        known, unseen = hold_out(rows)
    else:
        check_rows(rows, FOLDS)
        known, unseen = rows, test.without(rows.texts)
    return JudgedRows(about(known, MAX_FITTED), about(unseen, MAX_JUDGED))


def about(rows: Labeled, most: int) -> Labeled:
    """About ``most`` rows, with the same share of each label and FOLDS rows of it at least; or all."""
    share = most / max(1, len(rows.texts))
    if share >= 1:
        return rows
    of_label: dict[str, list[int]] = defaultdict(list)
    for i in np.random.default_rng(SEED).permutation(len(rows.texts)).tolist():
        of_label[rows.labels[i]].append(i)
    drawn = [i for found in of_label.values() for i in found[: max(FOLDS, round(share * len(found)))]]
    return rows.at(sorted(drawn))


class _Measuring:
    """One evaluation of several models."""

    def __init__(self, registry: ModelRegistry, asked: Asked, rows: JudgedRows, progress: Progress) -> None:
        self._registry = registry
        self._heads = HeadStore(registry.root.parent)
        self._asked = asked
        self._rows = rows
        self._progress = progress
        self._made: dict[str, ServedModel] = {}
        self._originals: dict[str, Callable[[], ServedModel]] = {}

    def all(self, sets: ExtraSets) -> dict[str, Judgement]:
        groups: dict[str, list[str]] = defaultdict(list)
        for name in map(self._whole_name, self._asked.names):
            groups[self._original_of(name)].append(name)
        found: dict[str, Judgement] = {}
        for original, names in groups.items():
            variants = [self._served_model(name) for name in names]
            evaluations = evaluate(
                self._served_model(original),
                variants,
                self._rows.unseen,
                sets,
                self._progress,
                fitted_rows=len(self._rows.fitted.texts),
                speeds=self._asked.speeds,
            )
            for name, evaluation in evaluations.items():
                if name not in found or name in names:
                    found[name] = self._judged(name, evaluation)
        return {name: self._kept(name, judgement) for name, judgement in found.items()}

    def _whole_name(self, name: str) -> str:
        """``minilm-int8`` for ``minilm``."""
        return name if self._heads.has(name) else self._registry.load(name).name

    def _original_of(self, name: str) -> str:
        given = self._asked.original
        if given is not None and self._whole_name(given) != name:
            return self._whole_name(given)
        own = self._own_original_of(name)
        if given is not None and own != name:
            raise UsageError(
                f"{name} cannot be judged beside itself: name its original, {own}, or leave --original out."
            )
        return own

    def _own_original_of(self, name: str) -> str:
        if self._heads.has(name):
            how = HowServed(self._registry, self._asked.provider, self._asked.taxonomy)
            original = original_of(how, name)
            if original.make:
                self._originals[original.name] = original.make
            return original.name
        return original_name(self._registry.load(name))

    def _served_model(self, name: str) -> ServedModel:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> ServedModel:
        asked = self._asked
        if name in self._originals:
            return self._originals[name]()
        if self._heads.has(name):
            return fitted_model(self._registry, name, asked.provider, asked.taxonomy)
        manifest = self._registry.load(name)
        if manifest.kind == CLASSIFIER:
            return classifier(self._registry, name, asked.provider)
        if manifest.kind != ENCODER:
            raise UsageError(f"{name} is a {manifest.kind}: measure models of one kind at once.")
        if asked.zero_shot:
            return zero_shot_encoder(self._registry, manifest, asked.taxonomy, asked.provider)
        return fitted_encoder(manifest, self._rows.fitted, asked.provider, self._progress)

    def _judged(self, name: str, evaluation: Evaluation) -> Judgement:
        thresholds = self._asked.thresholds or DEFAULTS[evaluation.use]
        forced = self._asked.force and name in map(self._whole_name, self._asked.names)
        if name not in self._originals:
            task = CLASSIFY if evaluation.use == CLASSIFY else TRIAGE
            model = MeasuredModel(self._registry.root.parent, task, name, self._asked.taxonomy)
            evaluation = with_memory(model, evaluation, self._progress)
        return Judgement(evaluation, judge(evaluation, thresholds, force=forced))

    def _kept(self, name: str, judgement: Judgement) -> Judgement:
        """Write it down, atomically, where the model is; the original of a fitted one has no place of its own."""
        if name in self._originals:
            return judgement
        if self._heads.has(name):
            return write_judgement(self._heads.root / name / judgement.evaluation.version, judgement)
        manifest = self._registry.load(name)
        force = self._asked.force and name in map(self._whole_name, self._asked.names)
        return keep_judgement(self._registry, manifest, judgement, self._progress, force=force)
