"""Which requests a candidate answers."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.rollouts.choice import takes_candidate

STABLE, CANDIDATE = "0123456789ab", "ba9876543210"
KEYS = [b"customer-%d" % number for number in range(20_000)]
shares = st.floats(0, 1)


def taken(share: float, candidate: str = CANDIDATE) -> set[bytes]:
    return {key for key in KEYS if takes_candidate(key, STABLE, candidate, share)}


def test_the_share_of_the_keys_is_the_share_of_the_rollout() -> None:
    for share in (0.01, 0.2, 0.5, 0.9):
        assert abs(len(taken(share)) / len(KEYS) - share) < 0.012


@given(st.binary(max_size=50), shares, shares)
def test_a_greater_share_only_adds_keys(key: bytes, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert takes_candidate(key, STABLE, CANDIDATE, high) >= takes_candidate(key, STABLE, CANDIDATE, low)


@given(st.binary(max_size=50))
def test_all_or_none_is_all_or_none(key: bytes) -> None:
    assert takes_candidate(key, STABLE, CANDIDATE, 1)
    assert not takes_candidate(key, STABLE, CANDIDATE, 0)


def test_another_candidate_gets_other_keys() -> None:
    both = taken(0.2) & taken(0.2, "aaaaaaaaaaaa")
    assert abs(len(both) / len(KEYS) - 0.2 * 0.2) < 0.03


def test_every_process_chooses_alike() -> None:
    code = (
        "from inferstream.pipeline.rollouts.choice import takes_candidate as takes\n"
        f"print([n for n in range(300) if takes(b'customer-%d' % n, {STABLE!r}, {CANDIDATE!r}, 0.2)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = [n for n in range(300) if takes_candidate(b"customer-%d" % n, STABLE, CANDIDATE, 0.2)]
    assert told == {f"{here}\n"}
