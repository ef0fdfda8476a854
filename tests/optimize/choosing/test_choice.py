"""The choice: the fastest offer that keeps all limits, why, and what would do where nothing fits."""

import math

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from inferstream.pipeline.models.metrics import Gate
from inferstream.pipeline.optimize.choosing.choice import ChoiceLimits, choose, misses_of
from inferstream.pipeline.optimize.choosing.offers import Offer

FP32 = Offer("m-fp32", "cpu", "a CPU", "m-fp32", 1.0, 8.0, 15.0, 200.0, 90.7, None, "the original")
INT8 = replace(FP32, name="m-int8", agreement=0.992, p50_ms=3.0, p99_ms=6.0, rows_per_s=450.0, size_mb=24.0)
PRUNED = replace(
    INT8,
    name="m-pruned-int8",
    agreement=0.94,
    p99_ms=2.51,
    rows_per_s=900.0,
    size_mb=17.0,
    gate=Gate({"min_share": 0.97}, passed=True),
)
ALL = (FP32, INT8, PRUNED)


def test_the_fastest_that_keeps_all_limits_is_chosen_and_the_reason_told() -> None:
    chosen = choose(ALL, ChoiceLimits(20, 0.98))
    assert chosen.offer is INT8
    assert chosen.reason == (
        "m-int8 on cpu: the fastest of 2 that fit, 450 rows/s of one core, 99 % of single rows within 6.00 ms, "
        "99.2% of its answers those of m-fp32."
    )
    assert choose(ALL, ChoiceLimits()).offer is PRUNED
    assert choose(ALL, ChoiceLimits(latency_ms=20, max_size_mb=20)).offer is PRUNED
    assert choose(ALL, ChoiceLimits(min_agreement=0.995)).offer is FP32


def test_where_nothing_fits_the_limits_that_fail_and_what_would_do_are_told() -> None:
    chosen = choose(ALL, ChoiceLimits(2, 0.95))
    assert chosen.offer is None
    assert chosen.reason == (
        "Nothing fits: nothing keeps --latency-ms. These would: m-fp32 on cpu with --latency-ms 15; "
        "m-int8 on cpu with --latency-ms 6; m-pruned-int8 on cpu with --latency-ms 2.6 --min-agreement 0.94."
    )


def test_closed_gates_and_figures_that_are_not_known_are_never_chosen() -> None:
    closed = replace(PRUNED, gate=Gate({"min_share": 0.97}, passed=False, failures=("Bad.",)))
    forced = replace(PRUNED, gate=Gate({"min_share": 0.97}, passed=False, failures=("Bad.",), forced=True))
    unknown = replace(PRUNED, p50_ms=None, p99_ms=None, rows_per_s=None)
    not_judged = replace(PRUNED, agreement=None)
    assert choose([closed, INT8], ChoiceLimits()).offer is INT8
    assert choose([forced, INT8], ChoiceLimits()).offer is forced
    assert choose([unknown, INT8], ChoiceLimits()).offer is INT8
    assert choose([not_judged, INT8], ChoiceLimits(min_agreement=0.5)).offer is INT8
    assert choose([not_judged, INT8], ChoiceLimits()).offer is not_judged
    assert choose([closed, unknown], ChoiceLimits()).reason == (
        "Nothing fits. No model here has all figures and an open gate."
    )
    assert choose([], ChoiceLimits()).offer is None


def test_a_figure_that_is_no_number_keeps_no_limit() -> None:
    assert misses_of(replace(INT8, p99_ms=math.nan), ChoiceLimits(latency_ms=1e9))
    assert misses_of(replace(INT8, agreement=math.nan), ChoiceLimits(min_agreement=0.0))


@given(
    st.floats(0.05, 100),
    st.floats(0, 1),
    st.floats(0.1, 500),
    st.floats(0.01, 100),
    st.floats(0, 1),
    st.floats(0.1, 500),
)
def test_the_options_that_are_told_do(
    p99_ms: float, agreement: float, size_mb: float, latency: float, least: float, most_mb: float
) -> None:
    offer = replace(INT8, p99_ms=p99_ms, agreement=agreement, size_mb=size_mb)
    limits = {"latency_ms": latency, "min_agreement": least, "max_size_mb": most_mb}
    for miss in misses_of(offer, ChoiceLimits(**limits)):
        option, value = miss.enough.split()
        limits[option.removeprefix("--").replace("-", "_")] = float(value)
    assert not misses_of(offer, ChoiceLimits(**limits))
