"""An alias: which version of a task it means, and which one is on trial. Each change is a new state with a number."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from ...errors import UsageError
from ...rollouts.limits import RolloutLimits

Mode = Literal["canary", "guarded", "shadow"]
Version = Annotated[str, Meta(pattern=r"^[0-9a-f]{12}\Z")]
RolloutShare = Annotated[float, Meta(gt=0, le=1)]


class Rollout(Struct, frozen=True, omit_defaults=True):
    """How a candidate is tried.

    canary: it answers a share of the keys. guarded: the same, but where both versions differ the stable one's
    answer is sent, until enough agree. shadow: it is compared and never answers.
    """

    mode: Mode
    share: RolloutShare
    limits: RolloutLimits = RolloutLimits()


class AliasState(Struct, frozen=True, omit_defaults=True):
    """A state of an alias. It is never changed: the next one has the next number."""

    number: Annotated[int, Meta(ge=1, le=99_999_999)]
    stable: Version
    at: str  # ISO 8601, UTC
    by: str  # who changed it: a user, or a worker that rolled back
    previous: Version | None = None  # the stable version that a rollback returns to
    candidate: Version | None = None
    rollout: Rollout | None = None  # of the candidate
    rolled_back: Version | None = None  # what this change left or dropped, where it was a rollback
    reason: str = ""
    forced: bool = False  # a version that its gate refused was made stable or a candidate by this change

    @property
    def versions(self) -> tuple[str, ...]:
        """What the state names: a release that one of them is must not be removed."""
        return tuple(filter(None, (self.stable, self.candidate, self.previous)))


class Change(Struct, frozen=True):
    """Who changes an alias, when and why."""

    at: str
    by: str
    reason: str = ""
    forced: bool = False


def promoted(state: AliasState | None, version: str, change: Change) -> AliasState:
    """``version`` becomes the stable one, at once. A candidate is dropped."""
    previous = None if state is None else state.previous if state.stable == version else state.stable
    return _after(state, version, previous, change)


def tried(state: AliasState | None, version: str, rollout: Rollout, change: Change) -> AliasState:
    """``version`` becomes the candidate, instead of another one. Raises UsageError."""
    if state is None:
        raise UsageError(
            "An alias that is new has no stable version to compare with: promote it without a rollout."
        )
    if state.stable == version:
        raise UsageError(f"{version} is the stable version already: there is nothing to try.")
    next_state = _after(state, state.stable, state.previous, change)
    return replace(next_state, candidate=version, rollout=rollout)


def finished(state: AliasState, change: Change) -> AliasState:
    """The candidate becomes the stable version. Raises UsageError if there is none."""
    if state.candidate is None:
        raise UsageError("There is no candidate on trial: nothing can be finished.")
    return _after(state, state.candidate, state.stable, change)


def rolled_back(history: Sequence[AliasState], change: Change, to: str | None = None) -> AliasState:
    """A candidate is dropped; without one, the version before the stable one is stable again, or ``to``.

    ``history`` has all states, the oldest first. A second rollback goes back further, not forth again.
    Raises UsageError.
    """
    state = history[-1]
    if to is None and state.candidate is not None:
        return replace(_after(state, state.stable, state.previous, change), rolled_back=state.candidate)
    target = to or state.previous
    if target is None:
        raise UsageError(f"There is no version before {state.stable} to return to.")
    if target == state.stable and state.candidate is None:
        raise UsageError(f"{target} is the stable version already.")
    known = list(dict.fromkeys(one.stable for one in history))
    if target not in known:
        raise UsageError(f"{target} has never been the stable version; these have: {', '.join(known)}.")
    left = state.stable if target != state.stable else state.candidate
    return replace(_after(state, target, _before(history, target, state.stable), change), rolled_back=left)


def _before(history: Sequence[AliasState], target: str, left: str) -> str | None:
    """The version that was promoted last before ``target``, of those that were not rolled back since."""
    promotions: dict[str, None] = {}  # in the order of the last promotion
    bad = {left}
    for state in history:
        if state.rolled_back:
            bad.add(state.rolled_back)
            promotions.setdefault(state.stable)
        elif state.candidate is None:
            promotions.pop(state.stable, None)
            promotions[state.stable] = None
            bad.discard(state.stable)
    older = list(promotions)[: list(promotions).index(target)]
    return next((one for one in reversed(older) if one not in bad | {left}), None)


def _after(state: AliasState | None, stable: str, previous: str | None, change: Change) -> AliasState:
    return AliasState(
        number=state.number + 1 if state else 1,
        stable=stable,
        at=change.at,
        by=change.by,
        previous=previous,
        reason=change.reason,
        forced=change.forced,
    )
