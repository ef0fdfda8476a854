"""How the step `evaluate` measures the models of each kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from ....graphs.llama.decoder import KIND as DECODER
from ....graphs.marian.translator import KIND as TRANSLATOR
from ....models.manifest import CLASSIFIER, ENCODER
from ....models.metrics import Evaluation
from ....models.progress import Progress
from ....tasks.classify.definition import CLASSIFY
from ....tasks.translate.definition import TRANSLATE
from ....tasks.triage.definition import TRIAGE
from ....tasks.triage.head import HeadStore
from ...evaluation.extra_sets import extra_sets
from ...evaluation.figures.classifiers import evaluate
from ...evaluation.figures.memory import MeasuredModel, with_memory
from ...evaluation.models import Asked, JudgedRows, split_rows
from ...evaluation.served_model import ServedModel
from ...evaluation.served_models import classifier, fitted_encoder, fitted_model
from ...evaluation.text_models import measured_decoders, measured_translators
from ..making import StepPlace
from ..taxonomies import RecipeTaxonomy

Evaluations = dict[str, Evaluation]


class ToMeasure(Struct, frozen=True):
    """What to measure, and how. ``names``: of the models, the original first."""

    names: tuple[str, ...]
    provider: str
    speeds: bool
    taxonomy: RecipeTaxonomy
    beside_fitted: bool  # whether there are fitted models among what was made


def _encoders(place: StepPlace, wanted: ToMeasure, progress: Progress) -> Evaluations:
    """Encoders with a head that is fitted anew on vectors of the known rows, and fitted models as they are."""
    rows = split_rows(place.rows.known, place.rows.unseen)
    if wanted.beside_fitted:  # those were fitted on all known rows, and so are the heads beside them
        rows = rows._replace(fitted=place.rows.known)
    found = [_encoder(place, name, rows, wanted, progress) for name in wanted.names]
    return _judged(place, TRIAGE, found, rows, wanted, progress)


def _encoder(
    place: StepPlace, name: str, rows: JudgedRows, wanted: ToMeasure, progress: Progress
) -> ServedModel:
    if HeadStore(place.registry.root.parent).has(name):
        return fitted_model(place.registry, name, wanted.provider, wanted.taxonomy.file)
    manifest = place.registry.load(name, ENCODER)
    return fitted_encoder(manifest, rows.fitted, wanted.provider, progress, wanted.taxonomy.file)


def _classifiers(place: StepPlace, wanted: ToMeasure, progress: Progress) -> Evaluations:
    """Models with labels of their own, on all rows."""
    found = [classifier(place.registry, name, wanted.provider) for name in wanted.names]
    rows = JudgedRows(place.rows.judged.at([]), place.rows.judged)
    return _judged(place, CLASSIFY, found, rows, wanted, progress)


def _judged(
    place: StepPlace,
    task: str,
    found: Sequence[ServedModel],
    rows: JudgedRows,
    wanted: ToMeasure,
    progress: Progress,
) -> Evaluations:
    evaluations = evaluate(
        found[0],
        found[1:],
        rows.unseen,
        extra_sets(rows.unseen.texts),
        progress,
        fitted_rows=len(rows.fitted.texts),
        speeds=wanted.speeds,
    )
    home, file = place.registry.root.parent, wanted.taxonomy.file
    return {
        name: with_memory(MeasuredModel(home, task, name, file), one, progress)
        for name, one in evaluations.items()
    }


def _translators(place: StepPlace, wanted: ToMeasure, progress: Progress) -> Evaluations:
    asked = Asked(wanted.names, provider=wanted.provider, speeds=wanted.speeds)
    manifests = [place.registry.load(name, TRANSLATOR) for name in wanted.names]
    found = measured_translators(place.registry, manifests, asked, place.rows.texts, progress)
    home = place.registry.root.parent
    return {
        name: with_memory(MeasuredModel(home, TRANSLATE, name), one, progress) for name, one in found.items()
    }


def _decoders(place: StepPlace, wanted: ToMeasure, progress: Progress) -> Evaluations:
    original, *variants = (place.registry.load(name, DECODER) for name in wanted.names)
    return measured_decoders(original, variants, place.rows.texts.texts, progress)


MEASURED: Final[Mapping[str, Callable[[StepPlace, ToMeasure, Progress], Evaluations]]] = {
    ENCODER: _encoders,
    CLASSIFIER: _classifiers,
    TRANSLATOR: _translators,
    DECODER: _decoders,
}
"""By the kind of the recipe's model."""
