"""Retries and dead letters carry the version that took the request; a request without it is decided by its key."""

from support.handler_rig import NO_RETRIES, handler_over, only, outcome_of
from support.trial_rig import BREAKS_BOTH, CANDIDATE, GONE, STABLE, TrialRig, a_trial_rig

from inferstream.pipeline.broker.base import Message, Record
from inferstream.pipeline.config import RetryConfig
from inferstream.pipeline.delivery.handler import Handler
from inferstream.pipeline.ops.dead_letters.handling import replay_of
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure, Result
from inferstream.schemas.topics import Header, Topics

TOPICS = Topics("echo")
RETRIES = RetryConfig(tiers_s=[1], max_attempts=3, budget_share=1.0)


def over(rig: TrialRig, retries: RetryConfig = NO_RETRIES) -> Handler:
    return handler_over(rig.trials, retries=retries)


def a_record(text: str, key: str, **headers: str) -> Record:
    pairs = tuple((name.replace("_", "-"), value.encode()) for name, value in headers.items())
    return Record(
        TOPICS.requests, 0, 7, key.encode(), b'{"text":"%s"}' % text.encode(), pairs, 1_700_000_000_000
    )


def as_record(message: Message, offset: int = 8) -> Record:
    return Record(message.topic, 0, offset, message.key, message.value, message.headers, 1_700_000_000_000)


async def replied(handler: Handler, record: Record) -> Result:
    reply = decode_reply(only(await outcome_of(handler, record)).value)
    assert isinstance(reply, Result)
    return reply


async def test_an_answer_names_the_version_that_the_key_chooses() -> None:
    async with a_trial_rig() as rig:
        for release in (STABLE, CANDIDATE):
            assert (await replied(over(rig), a_record("hello", rig.key_of(release)))).release == release


async def test_a_redelivery_is_decided_anew_by_its_key() -> None:
    async with a_trial_rig(share=0.9) as rig:
        record = a_record("hello", rig.key_of(CANDIDATE))
        assert (await replied(over(rig), record)).release == CANDIDATE
        rig.trial.stopped = "it is worse"
        assert (await replied(over(rig), record)).release == STABLE


async def test_a_record_without_a_key_is_decided_by_its_place() -> None:
    async with a_trial_rig() as rig:
        records = [a_record("hello", "")._replace(key=None, offset=offset) for offset in range(40)]
        first = [(await replied(over(rig), record)).release for record in records]
        assert set(first) == {STABLE, CANDIDATE}
        assert first == [(await replied(over(rig), record)).release for record in records]


async def test_a_retry_carries_the_version_that_took_the_request() -> None:
    async with a_trial_rig() as rig:
        rig.stable_session._failures[ord(GONE)] = rig.candidate_session._failures[ord(GONE)]
        handler = over(rig, RETRIES)
        record = a_record(f"hello {GONE}", rig.key_of(CANDIDATE), order="any")
        retried = only(await outcome_of(handler, record))
        assert retried.topic == TOPICS.retry("1s")
        assert dict(retried.headers)[Header.RELEASE] == CANDIDATE.encode()
        other = as_record(retried)._replace(key=rig.key_of(STABLE).encode())
        again = only(await outcome_of(handler, other))
        assert dict(again.headers)[Header.RELEASE] == CANDIDATE.encode()
        assert [name for name, _ in again.headers].count(Header.RELEASE) == 1
        rig.candidate_session._failures.clear()
        assert (await replied(handler, as_record(again))).release == CANDIDATE
        rig.trial.stopped = "it is worse"
        rig.stable_session._failures.clear()
        assert (await replied(handler, as_record(again))).release == STABLE


async def test_a_replay_of_a_dead_letter_carries_the_version_that_took_the_request() -> None:
    async with a_trial_rig() as rig:
        handler = over(rig)
        outcome = await outcome_of(handler, a_record(f"hello {BREAKS_BOTH}", rig.key_of(CANDIDATE)))
        assert isinstance(decode_reply(only(outcome).value), Failure)
        assert outcome.then is not None
        letter = as_record(only(outcome.then))
        replay = replay_of(letter, TOPICS, {TOPICS.requests: 1})
        assert dict(replay.headers)[Header.RELEASE] == CANDIDATE.encode()
        rig.candidate_session._failures.clear()
        moved = as_record(replay)._replace(key=rig.key_of(STABLE).encode())
        assert (await replied(handler, moved)).release == CANDIDATE
