"""A candidate beside the stable version: which answers, what is counted, and what is compared."""

import asyncio

import pytest
from support.echo import echoed
from support.trial_rig import (
    ALIAS,
    BREAKS,
    BREAKS_BOTH,
    CANDIDATE,
    DIFFERS,
    GONE,
    STABLE,
    a_trial_rig,
    until,
)

from inferstream.pipeline.engine.by_tenant import ByTenant
from inferstream.pipeline.engine.trials.comparisons import IDLE_S, MAX_BYTES, MAX_WAITING, PER_S
from inferstream.pipeline.errors import BlankText, DeadlineExceeded, DeviceError
from inferstream.pipeline.rollouts.yardstick import LEAST


async def test_a_key_is_answered_by_one_version_and_the_answer_names_it() -> None:
    async with a_trial_rig() as rig:
        for release in (STABLE, CANDIDATE):
            key = rig.key_of(release)
            answers = [await rig.ask(f"text {number}", key) for number in range(3)]
            assert {answer.release for answer in answers} == {release}
        assert rig.trial.figures.stable.answered == 3
        assert rig.trial.figures.candidate.answered == 3


async def test_a_request_keeps_the_version_that_took_it() -> None:
    async with a_trial_rig() as rig:
        key = rig.key_of(STABLE)
        assert (await rig.ask("one", key, release=CANDIDATE)).release == CANDIDATE
        assert (await rig.ask("two", rig.key_of(CANDIDATE), release=STABLE)).release == STABLE
        assert (await rig.ask("three", key, release="ffffffffffff")).release == STABLE


async def test_the_default_model_is_on_trial_where_tenants_have_models_of_their_own() -> None:
    async with a_trial_rig() as rig:
        rig.engine.exchange("echo", {ALIAS: ByTenant(rig.trial, {"acme": rig.stable})})
        assert all(one is rig.trial for one in rig.engine.choosers("echo"))
        key = rig.key_of(CANDIDATE)
        assert (await rig.ask("one", key)).release == CANDIDATE
        assert rig.trial.figures.candidate.answered == 1, "it is counted"
        assert (await rig.ask("two", key, tenant="acme")).release == STABLE
        assert (await rig.ask("three", key, tenant="acme", model=ALIAS)).release == CANDIDATE


async def test_a_tenant_whose_model_is_on_trial_is_counted() -> None:
    async with a_trial_rig() as rig:
        rig.engine.exchange("echo", {"echo": ByTenant(rig.stable, {"acme": rig.trial}), ALIAS: rig.trial})
        key = rig.key_of(CANDIDATE)
        assert (await rig.ask("one", key, tenant="acme")).release == CANDIDATE
        assert (await rig.ask(f"gone {GONE}", key, tenant="acme")).release == STABLE
        assert rig.trial.figures.candidate.failed == 1


async def test_versions_share_no_cached_answer() -> None:
    async with a_trial_rig() as rig:
        texts = DIFFERS * 3
        first = await rig.ask(texts, rig.key_of(STABLE))
        second = await rig.ask(texts, rig.key_of(CANDIDATE))
        again = await rig.ask(texts, rig.key_of(STABLE))
        assert (first.output, second.output, again.output) == (echoed(texts), echoed("---"), echoed(texts))
        assert again.cache == "memory"


async def test_answers_of_a_canary_are_compared() -> None:
    async with a_trial_rig() as rig:
        key = rig.key_of(CANDIDATE)
        await rig.ask("alike", key)
        assert (await rig.ask(DIFFERS, key)).output == echoed("-")
        await rig.ask("not compared", rig.key_of(STABLE))
        await until(lambda: rig.trial.figures.differed and rig.trial.figures.agreed)
        assert (rig.trial.figures.agreed, rig.trial.figures.differed) == (1, 1)


async def test_where_the_candidate_fails_the_stable_version_answers() -> None:
    async with a_trial_rig() as rig:
        answer = await rig.ask(f"this breaks it {BREAKS}", rig.key_of(CANDIDATE))
        assert answer.release == STABLE
        assert rig.trial.figures.candidate.failed == 1
        assert (await rig.ask(f"gone {GONE}", rig.key_of(CANDIDATE))).release == STABLE
        assert rig.trial.figures.candidate.failed == 2
        assert rig.trial.figures.stable.failed == 0


async def test_a_request_that_breaks_both_versions_counts_for_none() -> None:
    async with a_trial_rig() as rig:
        with pytest.raises(DeviceError):
            await rig.ask(f"this breaks both {BREAKS_BOTH}", rig.key_of(CANDIDATE))
        assert rig.trial.figures.candidate.failed == 0
        with pytest.raises(BlankText):
            await rig.ask("  ", rig.key_of(CANDIDATE))
        assert rig.trial.figures.candidate.failed == 0


async def test_failures_of_the_stable_version_count() -> None:
    async with a_trial_rig() as rig:
        with pytest.raises(DeviceError):
            await rig.ask(f"this breaks both {BREAKS_BOTH}", rig.key_of(STABLE))
        assert rig.trial.figures.stable.failed == 1


async def test_a_deadline_that_passes_on_the_device_counts() -> None:
    async with a_trial_rig() as rig:
        rig.candidate_session.stall()
        asking = asyncio.create_task(rig.ask("slow", rig.key_of(CANDIDATE), expires=rig.clock() + 0.05))
        with pytest.raises(DeadlineExceeded):
            await asking
        rig.candidate_session.release()
        assert rig.trial.figures.candidate.failed == 1


async def test_a_shadow_is_compared_and_never_sent() -> None:
    async with a_trial_rig("shadow") as rig:
        keys = [rig.key_of(CANDIDATE), rig.key_of(STABLE)]
        answers = [await rig.ask(f"{DIFFERS} {key}", key, release=CANDIDATE) for key in keys]
        assert {answer.release for answer in answers} == {STABLE}
        await until(lambda: rig.trial.figures.differed)
        assert rig.trial.figures.differed == 1
        assert rig.trial.figures.candidate.answered == 0


async def test_guarded_answers_are_those_of_the_stable_version_where_the_two_differ() -> None:
    async with a_trial_rig("guarded") as rig:
        key = rig.key_of(CANDIDATE)
        assert (await rig.ask("alike", key)).release == CANDIDATE
        differing = await rig.ask(DIFFERS, key)
        assert (differing.release, differing.output) == (STABLE, echoed(DIFFERS))
        repeated = await rig.ask(DIFFERS, key)
        assert (repeated.release, repeated.cache) == (STABLE, "memory")
        assert (rig.trial.figures.agreed, rig.trial.figures.differed) == (1, 1)
        assert (await rig.ask(f"fails {BREAKS}", key)).release == STABLE
        assert rig.trial.figures.candidate.failed == 1
        rig.trial.trusted = True
        assert (await rig.ask(f"another {DIFFERS}", key)).release == CANDIDATE


async def test_answers_in_pieces_are_those_of_the_stable_version_while_it_guards() -> None:
    async with a_trial_rig("guarded") as rig:
        key = rig.key_of(CANDIDATE)
        streamed = rig.job("in pieces", key)
        streamed = type(streamed)(
            "echo", type(streamed.request)(text="in pieces", stream=True), key=key.encode()
        )
        assert (await rig.trials.answer(streamed)).release == STABLE


async def test_a_stopped_candidate_answers_no_more() -> None:
    async with a_trial_rig() as rig:
        rig.trial.stopped = "it is too slow"
        assert (await rig.ask("one", rig.key_of(CANDIDATE), release=CANDIDATE)).release == STABLE
        assert rig.trial.figures.candidate.answered == rig.trial.figures.stable.answered == 0


async def test_labels_are_judged_on_the_answers_of_both_versions() -> None:
    async with a_trial_rig() as rig:
        for text, label in (("a", "a"), (DIFFERS, DIFFERS), (DIFFERS, "-"), ("b", "c")):
            put = rig.trials.comparisons.put(rig.trial, rig.job(text), 1, {}, {"echo": label})
            assert put
        await until(lambda: rig.trial.figures.labeled == 4)
        figures = rig.trial.figures
        counts = (figures.both_right, figures.stable_right, figures.candidate_right, figures.both_wrong)
        assert counts == (1, 1, 1, 1)


async def test_what_is_compared_waits_for_all_others_and_is_bounded() -> None:
    async with a_trial_rig() as rig:
        rig.stable_session.stall()
        first = asyncio.create_task(rig.ask("on the device", rig.key_of(STABLE)))
        await asyncio.to_thread(rig.stable_session.wait_for_runs, 1)
        waiting = [asyncio.create_task(rig.ask(f"text {n}", rig.key_of(STABLE))) for n in range(40)]
        await until(lambda: rig.engine.backlog_s > IDLE_S)
        comparisons = rig.trials.comparisons
        before = len(rig.candidate_session.runs)
        assert not comparisons.put(rig.trial, rig.job("large"), MAX_BYTES + 1, {})
        taken = [comparisons.put(rig.trial, rig.job(f"shadow {n}"), 1, {}) for n in range(2 * MAX_WAITING)]
        assert sum(taken) == MAX_WAITING
        assert comparisons.room == 0
        await asyncio.sleep(0.05)
        assert len(rig.candidate_session.runs) == before
        rig.stable_session.release()
        await asyncio.gather(first, *waiting)
        await until(lambda: rig.trial.figures.agreed > MAX_WAITING / 2)


async def test_few_are_compared_in_a_second() -> None:
    async with a_trial_rig() as rig:
        comparisons = rig.trials.comparisons
        for number in range(MAX_WAITING):
            comparisons.put(rig.trial, rig.job(f"shadow {number}"), 1, {})
        await until(lambda: rig.trial.figures.agreed == MAX_WAITING)
        assert comparisons.room == 0
        rig.clock.advance(1.0)  # type: ignore[attr-defined]
        assert comparisons.room == PER_S


async def test_the_cost_of_batches_is_counted_at_equal_shapes() -> None:
    async with a_trial_rig() as rig:
        figures = rig.trial.figures
        for number in range(LEAST):
            await rig.ask(f"text {number}", rig.key_of(STABLE))
        assert not figures.stable.cost
        await rig.ask("text 8", rig.key_of(STABLE))
        assert sum(figures.stable.cost.values()) == 1
        await rig.ask("text 9", rig.key_of(CANDIDATE))
        await rig.ask("a text of another length", rig.key_of(CANDIDATE))
        assert sum(figures.candidate.cost.values()) == 1
        assert sum(figures.candidate.latency.values()) == 2


@pytest.mark.parametrize("mode", ["canary", "guarded"])
async def test_what_is_in_the_air_when_a_trial_ends_is_answered_as_before(mode: str) -> None:
    async with a_trial_rig(mode) as rig:
        key = rig.key_of(CANDIDATE)
        rig.candidate_session.stall()
        asked = [asyncio.create_task(rig.ask(text, key)) for text in (f"fails {BREAKS}", DIFFERS)]
        await asyncio.to_thread(rig.candidate_session.wait_for_runs, 1)
        rig.trial.stopped = "it is worse"
        rig.engine.exchange("echo", {ALIAS: rig.stable})
        rig.candidate_session.release()
        failing, differing = await asyncio.gather(*asked)
        assert failing.release == STABLE
        assert differing.release == (STABLE if mode == "guarded" else CANDIDATE)
