"""The breaker stops reading when the worker fails at request after request, and finds out by itself when to go on."""

import pytest

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import BreakerConfig
from inferstream.pipeline.delivery.breaker import Breaker

CONFIG = BreakerConfig(in_a_row=3, share=0.5, window=10, cooldown_s=5.0)
WANTED = 100


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    return Breaker(CONFIG, clock)


def opened(breaker: Breaker) -> Breaker:
    for _ in range(CONFIG.in_a_row):
        breaker.trying()
        breaker.dead()
    assert breaker.is_open
    return breaker


def test_a_few_dead_letters_change_nothing(breaker: Breaker) -> None:
    for _ in range(20):
        for dead in (True, True, False, False, False):
            breaker.trying()
            breaker.dead() if dead else breaker.answered()
    assert not breaker.is_open
    assert breaker.room(WANTED) == WANTED


def test_too_many_in_a_row_stop_the_reading(breaker: Breaker, clock: FakeClock) -> None:
    opened(breaker)
    clock.advance(CONFIG.cooldown_s - 0.001)
    assert breaker.room(WANTED) == 0


def test_too_large_a_share_stops_the_reading(breaker: Breaker) -> None:
    for dead in (True, False, True, False, True, True, False, True, False, True):
        breaker.dead() if dead else breaker.answered()
    assert breaker.is_open


def test_after_a_while_one_is_tried_and_an_answer_closes_it(breaker: Breaker, clock: FakeClock) -> None:
    opened(breaker)
    clock.advance(CONFIG.cooldown_s)
    assert (breaker.room(WANTED), breaker.room(0)) == (1, 0)
    assert breaker.trying()
    assert breaker.room(WANTED) == 0, "one only"
    breaker.answered()
    assert not breaker.is_open
    assert breaker.room(WANTED) == WANTED
    breaker.dead()
    assert not breaker.is_open, "it begins anew"


def test_a_trial_that_fails_waits_again(breaker: Breaker, clock: FakeClock) -> None:
    opened(breaker)
    clock.advance(CONFIG.cooldown_s)
    breaker.trying()
    breaker.dead()
    breaker.tried()
    clock.advance(CONFIG.cooldown_s - 0.001)
    assert breaker.room(WANTED) == 0
    clock.advance(0.001)
    assert breaker.room(WANTED) == 1


def test_a_trial_that_decides_nothing_is_followed_by_another(breaker: Breaker, clock: FakeClock) -> None:
    """A bad request, or one that was lost in a rebalance: neither the worker's fault nor a proof that it works."""
    opened(breaker)
    clock.advance(CONFIG.cooldown_s)
    breaker.trying()
    breaker.tried()
    assert breaker.is_open
    assert breaker.room(WANTED) == 1


def test_a_trial_that_must_be_tried_again_later_has_failed(breaker: Breaker, clock: FakeClock) -> None:
    opened(breaker)
    clock.advance(CONFIG.cooldown_s)
    breaker.trying()
    breaker.put_off()
    breaker.tried()
    assert breaker.room(WANTED) == 0, "the device is as it was: the next trial has its time as well"
    clock.advance(CONFIG.cooldown_s)
    assert breaker.room(WANTED) == 1


def test_what_is_put_off_while_it_is_closed_changes_nothing(breaker: Breaker) -> None:
    for _ in range(100):
        breaker.put_off()
    assert not breaker.is_open


def test_only_a_record_read_while_it_is_open_is_a_trial(breaker: Breaker) -> None:
    assert not breaker.trying()
