"""Chaos: schedule and requests are pure functions of scenario, time and seed; scenarios are data."""

from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.lab.chaos.meanings import LOWER_LIMITS, MEANINGS
from inferstream.pipeline.lab.chaos.scenario import (
    AREAS,
    Faults,
    Scenario,
    config_of,
    load_scenario,
    scenario_names,
)
from inferstream.pipeline.lab.chaos.schedule import QUIET_END, calm_s, schedule
from inferstream.pipeline.lab.load.requests import ABORTS, AWAY, FAILS, Mix, requests
from inferstream.schemas.codec import DecodeError, decode_request
from inferstream.schemas.topics import Header, Topics

faults = st.builds(
    Faults,
    kind=st.sampled_from(sorted(AREAS)),
    times=st.integers(1, 40),
    seconds=st.tuples(st.floats(0, 5), st.floats(5, 30)),
)
scenarios = st.builds(
    Scenario,
    about=st.just("a test"),
    name=st.sampled_from(["a", "b"]),
    seconds=st.floats(60, 900),
    calm_s=st.floats(1, 30),
    faults=st.lists(faults, min_size=1, max_size=8, unique_by=lambda one: one.kind),
)


@given(scenarios, st.floats(15, 1_000), st.integers())
def test_the_same_seed_gives_the_same_schedule(scenario: Scenario, seconds: float, seed: int) -> None:
    assert schedule(scenario, seconds, seed) == schedule(scenario, seconds, seed)


@given(scenarios, st.floats(15, 1_000), st.integers())
def test_faults_lie_in_order_between_the_calm_and_the_quiet_end(
    scenario: Scenario, seconds: float, seed: int
) -> None:
    planned = schedule(scenario, seconds, seed)
    assert list(planned) == sorted(planned)
    for fault in planned:
        assert calm_s(scenario, seconds) - 1e-3 <= fault.at_s <= seconds * (1 - QUIET_END) + 1e-3
        assert 0 <= fault.pick < 1


@given(scenarios, st.integers())
def test_in_its_own_time_a_scenario_has_its_numbers_and_durations_of_faults(
    scenario: Scenario, seed: int
) -> None:
    planned = schedule(scenario, scenario.seconds, seed)
    assert Counter(fault.kind for fault in planned) == {one.kind: one.times for one in scenario.faults}
    bounds = {one.kind: one.seconds for one in scenario.faults}
    for fault in planned:
        least, most = bounds[fault.kind]  # type: ignore[index]
        assert least - 1e-3 <= fault.seconds <= most + 1e-3


@given(scenarios, st.integers())
def test_faults_of_one_area_keep_half_a_slot_apart(scenario: Scenario, seed: int) -> None:
    planned = schedule(scenario, scenario.seconds, seed)
    span_s = scenario.seconds * (1 - QUIET_END) - scenario.calm_s
    for area in set(AREAS.values()):
        times = [fault.at_s for fault in planned if AREAS[fault.kind] == area]
        for earlier, later in pairwise(times):
            assert later - earlier >= span_s / len(times) / 2 - 2e-3


def test_other_seeds_give_other_schedules() -> None:
    scenario = load_scenario("all")
    assert len({schedule(scenario, scenario.seconds, seed) for seed in range(20)}) == 20


@pytest.mark.parametrize("name", scenario_names())
def test_each_scenario_is_valid(name: str) -> None:
    scenario = load_scenario(name)
    load = scenario.load
    assert scenario.name == name
    assert sum(map(bool, (load.per_s, load.open, load.burst))) == 1, "one kind of pace"
    assert scenario.goals["lost"] == scenario.goals["out_of_order"] == 0
    assert scenario.goals.keys() <= MEANINGS.keys()
    assert set(LOWER_LIMITS) <= MEANINGS.keys()
    config = config_of(scenario, "127.0.0.1:9092")
    assert (config.kafka.replication, config.kafka.partitions) == (scenario.brokers, scenario.partitions)
    areas = {AREAS[faults.kind] for faults in scenario.faults}
    assert scenario.brokers == 3 or "brokers" not in areas, "one broker that is broken leaves nothing to see"


def test_an_unknown_scenario_is_an_error_that_names_all() -> None:
    with pytest.raises(UsageError, match=r"no scenario 'alll'\. Use one of: all, bombs, brokers"):
        load_scenario("alll")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('about = "x"\nseconds = 60\ncalm = 3', "unknown field `calm`"),
        ('about = "x"\nseconds = 60\ncalm_s = 50', "calm_s"),
        ('about = "x"\nseconds = 60\n[storm]\ngarbige_share = 1', "garbige_share"),
        ('about = "x"\nseconds = 60\n[[faults]]\nkind = "fire"\ntimes = 1', "fire"),
    ],
)
def test_a_mistake_in_a_scenario_is_named(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError, match=wrong):
        load_scenario("mine", tmp_path)


MIX = Mix(
    garbage_share=0.3,
    fails_share=0.05,
    aborts_share=0.05,
    away_share=0.05,
    duplicate_share=0.2,
    deadline_share=0.3,
    long_share=0.05,
)


@given(st.integers())
def test_the_same_seed_gives_the_same_requests(seed: int) -> None:
    assert list(islice(requests(MIX, "run", seed), 50)) == list(islice(requests(MIX, "run", seed), 50))


def test_requests_are_of_all_kinds_and_only_garbage_is_not_one() -> None:
    planned = list(islice(requests(MIX, "run", 1), 4_000))
    kinds = Counter(one.kind for one in planned)
    assert kinds.keys() == {"good", "again", "garbage", "fails", "aborts", "away"}
    assert 1_000 < kinds["garbage"] < 1_400
    markers = {"fails": FAILS, "aborts": ABORTS, "away": AWAY}
    for one in planned:
        if one.kind != "garbage":
            request = decode_request(one.value)
            assert request.id == one.id
            assert markers.get(one.kind, "") in str(request.text)


def read(value: bytes) -> tuple[str | None, str]:
    """The id that a worker finds, and what it says of the body."""
    try:
        return decode_request(value).id, "header or option"
    except DecodeError as error:
        return error.id, error.code


def test_garbage_is_of_all_kinds_and_its_id_is_the_one_that_a_worker_reads() -> None:
    codes: Counter[str] = Counter()
    for one in islice(requests(Mix(garbage_share=1), "run", 1), 500):
        known_as, code = read(one.value)
        assert known_as == one.id
        codes[code] += 1
    assert codes.keys() >= {
        "empty_body",
        "not_utf8",
        "not_json",
        "blank_text",
        "missing_text",
        "wrong_type",
        "header or option",
    }


def test_a_duplicate_is_identical_and_follows_its_request() -> None:
    for earlier, later in pairwise(islice(requests(MIX, "run", 1), 4_000)):
        if later.kind == "again":
            assert earlier == later._replace(kind=earlier.kind)


def test_a_deadline_is_in_the_header_and_in_the_text() -> None:
    planned = next(one for one in requests(Mix(deadline_share=1, repeat_share=0), "run", 1))
    message = planned.message(Topics("triage"), now=1_700_000_000.0)
    due = dict(message.headers)[Header.DEADLINE_MS]
    assert due == b"1700000020000"
    assert due in message.value


def test_one_in_sixty_four_is_poison() -> None:
    planned = list(islice(requests(Mix(one_fails_in=64), "run", 1), 640))
    assert Counter(one.kind for one in planned) == {"good": 630, "fails": 10}
    assert [one.kind for one in planned[:64]].count("fails") == 1
