"""Models and their variants as a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .evaluations import words_of
from .tables import print_table

if TYPE_CHECKING:
    from ...models.manifest import Manifest
    from ...models.metrics import Evaluation

COLUMNS = {
    "name": "NAME",
    "precision": "PRECISION",
    "dimensions": "DIMENSIONS",
    "max_tokens": "MAX TOKENS",
    "size": "SIZE",
    "as_fp32": "AS FP32",
    "version": "BUILD",
    "source": "SOURCE",
}


def print_models(manifests: "list[Manifest]", as_json: bool) -> None:
    """A table, or all of the manifests as JSON."""
    print_table([row_of(manifest) for manifest in manifests], COLUMNS, as_json=as_json)


def row_of(manifest: "Manifest") -> dict[str, Any]:
    """The manifest, and what was measured in words."""
    from ...models.catalogue import languages_of

    row: dict[str, Any] = msgspec.to_builtins(manifest)
    files = [Path(path) for path in (manifest.graph_path, manifest.data_path) if path]
    size_bytes = sum(path.stat().st_size for path in files if path.exists())
    return (
        row
        | {
            "languages": languages_of(manifest.name) or manifest.pair or "not said by its files",
            "version": manifest.version,
            "size": f"{size_bytes / 1e6:.0f} MB",
        }
        | _measured(manifest)
        | {"gates": _gates(manifest)}
    )


def _of_evaluation(found: "Evaluation") -> dict[str, str | None]:
    if found.accuracy is None or found.share is None or found.version == found.original_version:
        return {}
    share = found.share
    return {
        "as_fp32": f"{share.value:.1%} of its accuracy",
        "accuracy": (
            f"{found.accuracy.value:.1%} of {found.rows} unseen rows, {found.original} {found.original_accuracy:.1%}; "
            f"95% interval of the share {share.low:.1%} to {share.high:.1%}"
        ),
    }


def _gates(manifest: "Manifest") -> list[str]:
    """The judgements on the variant, in words."""
    built = [f"{words_of(manifest.gate)} when it was built"] if manifest.gate else []
    return built + [f"{words_of(one.gate)} for {use}" for use, one in manifest.judgements.items()]


def _measured(manifest: "Manifest") -> dict[str, str | None]:
    """What was measured when the variant was built, and by `models evaluate`, in words."""
    from ...models.metrics import FITTED

    shown: dict[str, str | None] = dict.fromkeys(
        ("as_fp32", "accuracy", "cosine", "scores", "kl", "alone_or_in_company")
    )
    if agreement := manifest.agreement:
        shown["as_fp32"] = f"{agreement.label:.1%} of {agreement.sentences} labels"
        shown["cosine"] = f"mean {agreement.cosine_mean:.4f}, least {agreement.cosine_min:.4f}"
    if scores := manifest.score_agreement:
        shown["as_fp32"] = f"{scores.label:.1%} of {scores.sentences} labels"
        shown["scores"] = (
            f"differ from fp32 by {scores.mean_difference:.4f} in the mean, {scores.largest_difference:.4f} at most"
        )
    if independence := manifest.independence:
        shown["alone_or_in_company"] = (
            f"{independence.labels_changed} of {independence.rows} labels differ, "
            f"elements by {independence.largest_difference:.0e} at most"
        )
    if judgement := manifest.judgements.get(FITTED):
        shown |= _of_evaluation(judgement.evaluation)
    if fidelity := manifest.fidelity:
        shown["as_fp32"] = f"{fidelity.top1:.1%} of {fidelity.tokens} tokens"
        shown["kl"] = f"{fidelity.kl:.2g}"
    if steadiness := manifest.steadiness:
        shown["alone_or_in_company"] = (
            f"of {steadiness.texts} texts, {steadiness.in_company} differ in company, "
            f"{steadiness.in_other_chunks} in other chunks, {steadiness.resumed} when resumed"
        )
    elif manifest.fidelity:
        shown["alone_or_in_company"] = f"not measured: {manifest.device} was not usable when it was built"
    return shown
