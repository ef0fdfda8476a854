"""What of a fitted head makes its two tiers answer together."""

from msgspec import UNSET

from ...errors import ModelError
from .cascade import Cascade, urgency_digest
from .head import Head
from .taxonomy import Taxonomy


def cascade_of(head: Head, taxonomy: Taxonomy) -> Cascade:
    """The cascade of the two tiers. Raises ModelError if there is none, or it is for other urgent phrases."""
    if head.cascade is UNSET:
        raise ModelError("The fitted model has no cascade; fit it again with `inferstream triage fit`.")
    if taxonomy.urgency and urgency_digest(taxonomy.urgency) != head.cascade.urgency:
        raise ModelError(
            "The cascade of the fitted model was chosen for other urgent phrases than those of the taxonomy: give the "
            "taxonomy of its fit by --taxonomy, or fit it again with this one."
        )
    return head.cascade


def ensemble_temperature(head: Head) -> float:
    """Of the sum of both tiers' log-probabilities. Raises ModelError if they were not fitted to be added."""
    if head.together is UNSET:
        raise ModelError("The fitted model has no ensemble; fit it again with `inferstream triage fit`.")
    return head.together
