"""A version of a fitted model by which another of its tiers answers."""

from msgspec import UNSET
from msgspec.structs import replace

from ...errors import UsageError
from .fit_record import NOT_RELEASED
from .head import CASCADE, ENCODER_TIER, ENSEMBLE, Head, HeadStore, Serve


def tiers_of(head: Head) -> tuple[Serve, ...]:
    """What may answer: all that was fitted."""
    if head.static is UNSET:
        return (ENCODER_TIER,)
    both: tuple[tuple[Serve, object], ...] = ((CASCADE, head.cascade), (ENSEMBLE, head.together))
    return (ENCODER_TIER, "static", *(tier for tier, fitted in both if fitted is not UNSET))


def serve_by(heads: HeadStore, name: str, version: str, tier: Serve) -> str:
    """Add the version that differs from this one in what answers, and make it the current one; returns it.

    It is the version that a fit with this `--serve` makes of the same rows. It has no judgement unless it had one
    before. Raises UnknownModel, ModelError, UsageError for a tier that was not fitted.
    """
    head = heads.load(name, version)
    if tier not in tiers_of(head):
        raise UsageError(
            f"{name} has no {tier} to answer, only {' and '.join(tiers_of(head))}: fit it again with "
            f"`inferstream triage fit DATA --name {name} --serve {tier}`."
        )
    folder = heads.root / name / version
    files = {file: heads.file(name, head, file).read_bytes() for file in head.files}
    of_fit = {file: path.read_bytes() for file in NOT_RELEASED if (path := folder / file).is_file()}
    chosen = replace(head, serve=UNSET if tier == ENCODER_TIER else tier)
    return heads.save(name, chosen, files | of_fit)
