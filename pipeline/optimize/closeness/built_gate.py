"""The gate of a variant when it is built: by what is measured on the sample, before there are any rows of a user."""

from typing import Final

from msgspec.structs import replace

from ...models.manifest import Manifest
from ...models.metrics import Gate

MIN_LABEL_AGREEMENT: Final = 0.9
MAX_KL: Final = 0.3
"""Variants of published decoders have 0.006 at most; weights that were rounded to other zero points had 0.37."""


def gated(variant: Manifest, original: str) -> Manifest:
    """The variant with the judgement on what was measured of it beside its ``original``; as it is without figures."""
    if (same := variant.agreement or variant.score_agreement) is not None:
        kept = same.label >= MIN_LABEL_AGREEMENT  # false for what is not a number
        failure = (
            f"It gives only {same.label:.1%} of the sample sentences the label that {original} gives, and "
            f"{MIN_LABEL_AGREEMENT:.0%} are needed."
        )
        gate = Gate({"min_agreement": MIN_LABEL_AGREEMENT}, kept, () if kept else (failure,))
    elif (found := variant.fidelity) is not None:
        kept = found.kl <= MAX_KL
        failure = f"Its next tokens diverge from those of {original} by {found.kl:.2g} nats; {MAX_KL:g} are allowed."
        gate = Gate({"max_kl": MAX_KL}, kept, () if kept else (failure,))
    else:
        return variant
    return replace(variant, gate=gate)
