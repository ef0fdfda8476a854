"""The states of an alias, as pure functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.models.releases.alias import (
    AliasState,
    Change,
    Rollout,
    finished,
    promoted,
    rolled_back,
    tried,
)
from inferstream.pipeline.models.releases.registry.sealed import seal, unseal

NOW = Change(at="2026-01-01T00:00:00Z", by="a test")
A, B, C = "a" * 12, "b" * 12, "c" * 12
CANARY = Rollout("canary", 0.2)

versions = st.sampled_from([A, B, C, "d" * 12])
steps = st.lists(
    st.tuples(st.sampled_from(["promote", "try", "finish", "roll back"]), versions), min_size=1, max_size=30
)


def history_of(made: list[tuple[str, str]]) -> list[AliasState]:
    """All states of the steps that are allowed."""
    history: list[AliasState] = []
    for step, version in made:
        last = history[-1] if history else None
        try:
            if step == "promote" or last is None:
                history.append(promoted(last, version, NOW))
            elif step == "try":
                history.append(tried(last, version, CANARY, NOW))
            elif step == "finish":
                history.append(finished(last, NOW))
            else:
                history.append(rolled_back(history, NOW))
        except UsageError:
            continue
    return history


@given(steps)
def test_numbers_rise_by_one_and_each_state_survives_its_file(made: list[tuple[str, str]]) -> None:
    history = history_of(made)
    assert [state.number for state in history] == list(range(1, len(history) + 1))
    for state in history:
        assert unseal(seal(state), AliasState, "it") == state
        assert (state.candidate is None) == (state.rollout is None)
        assert state.stable not in (state.candidate, state.previous)


@given(steps)
def test_rolling_back_again_and_again_ends(made: list[tuple[str, str]]) -> None:
    """It never returns to what it was rolled back from."""
    history = history_of(made)
    left: list[str] = []
    for _ in range(2 * len(history) + 2):
        try:
            state = rolled_back(history, NOW)
        except UsageError:
            return
        if history[-1].candidate is None:
            left.append(history[-1].stable)
        assert state.stable not in left
        history.append(state)
    pytest.fail("it went on for ever")


def test_a_rollback_drops_the_candidate_first() -> None:
    history = history_of([("promote", A), ("promote", B), ("try", C)])
    state = rolled_back(history, NOW)
    assert (state.stable, state.candidate, state.previous) == (B, None, A)
    assert rolled_back([*history, state], NOW).stable == A


def test_a_rollback_to_a_version_knows_only_stable_ones() -> None:
    history = history_of([("promote", A), ("promote", B), ("promote", C), ("try", "d" * 12)])
    assert rolled_back(history, NOW, to=A).stable == A
    with pytest.raises(UsageError, match=f"has never been the stable version; these have: {A}, {B}, {C}"):
        rolled_back(history, NOW, to="d" * 12)


def test_the_first_version_cannot_be_tried() -> None:
    with pytest.raises(UsageError, match="no stable version to compare with"):
        tried(None, A, CANARY, NOW)
