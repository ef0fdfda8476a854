"""The client cancels what nothing waits for any more, and its heartbeats keep its leases."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from pathlib import Path

import pytest
from support.broker_contract import wait_until
from support.responder import TOPICS, answer_all_except, result, served

from inferstream import BrokerError, Client, Failure, NotUtf8, ShuttingDown, SyncClient, Timeout, UsageError
from inferstream.pipeline.broker.base import Consumer, Message, Record, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.errors import Cancelled, NotWritable, Superseded
from inferstream.schemas.cancels import Cancel, Heartbeat, decode_cancel
from inferstream.schemas.messages import Reply, Request
from inferstream.schemas.topics import Header

SILENT = answer_all_except("silent")
PATIENCE_S = 20


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics(
            [TopicSpec(TOPICS.requests, 4), TopicSpec(TOPICS.replies, 4), TopicSpec(TOPICS.cancels, 4)]
        )
        yield broker


@pytest.fixture
async def reader(broker: EmbeddedBroker) -> Consumer:
    return await broker.consume([TOPICS.cancels])


async def read(reader: Consumer, count: int = 1) -> list[tuple[Cancel | Heartbeat, Record]]:
    found: list[tuple[Cancel | Heartbeat, Record]] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            records = await reader.poll(count - len(found), 1_000)
            found += [(decode_cancel(record.value), record) for record in records]
    return found


async def nothing_more(broker: EmbeddedBroker, reader: Consumer) -> None:
    """No record came before this one, which is published to each partition."""
    for number in range(4):
        await broker.publish(Message(TOPICS.cancels, b'{"id":"end"}', partition=number))
    assert {message for message, _ in await read(reader, 4)} == {Cancel("end")}


async def test_a_request_that_is_cancelled_sends_a_cancel_that_names_it(
    broker: EmbeddedBroker, reader: Consumer
) -> None:
    async with served(broker, SILENT) as (client, responder):
        waiting = asyncio.create_task(client.request("triage", "silent", id="t1", tenant="acme"))
        await asyncio.to_thread(responder.wait_for, 1)
        waiting.cancel()
        ((cancel, record),) = await read(reader)
        await client.request("triage", "other")
    assert cancel == Cancel("t1")
    assert record.key == b"t1"
    request = dict(responder.records[0].headers)
    assert dict(record.headers) == {name: request[name] for name in (Header.TENANT, Header.TRACEPARENT)}


async def test_a_request_that_times_out_sends_a_cancel(broker: EmbeddedBroker, reader: Consumer) -> None:
    async with served(broker, SILENT) as (client, _):
        with pytest.raises(Timeout):
            await client.request("triage", "silent", id="t1", timeout_s=0.1)
        ((cancel, _),) = await read(reader)
        assert cancel == Cancel("t1")


async def test_items_of_a_map_that_is_left_are_cancelled(broker: EmbeddedBroker, reader: Consumer) -> None:
    async with served(broker, SILENT) as (client, responder):
        async with aclosing(client.map("triage", ["a", *["silent"] * 5], timeout_s=None)) as answers:
            async for _ in answers:
                await asyncio.to_thread(responder.wait_for, 6)
                break
        cancels = [cancel for cancel, _ in await read(reader, 5)]
    assert {cancel.id.partition("#")[0] for cancel in cancels if isinstance(cancel, Cancel)} == set("12345")


async def test_answered_requests_send_nothing(broker: EmbeddedBroker, reader: Consumer) -> None:
    def both(record: Record, request: Request) -> Iterable[Reply]:
        yield (
            Failure(str(request.id), "triage", "internal", "Defect.")
            if request.text == "b"
            else result(request)
        )

    async with served(broker, both) as (client, _):
        await client.request("triage", "a")
        async for _ in client.map("triage", ["a", "b"]):
            pass
        await nothing_more(broker, reader)


async def test_a_request_that_the_broker_has_not_taken_is_cancelled_when_it_has(
    broker: EmbeddedBroker, reader: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cancel must not be older than the request."""
    taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with Client(broker=broker) as client:
        with monkeypatch.context() as patch:
            patch.setattr(broker, "publish", lambda message: taken)
            waiting = asyncio.create_task(client.request("triage", "a", id="t1"))
            await wait_until(lambda: bool(client._replies) and client._replies["triage"].is_pending("t1"))
            waiting.cancel()
            await asyncio.wait([waiting])
        await nothing_more(broker, reader)
        taken.set_result(None)
        ((cancel, _),) = await read(reader)
        assert cancel == Cancel("t1")


async def test_a_cancel_by_name(broker: EmbeddedBroker, reader: Consumer) -> None:
    async with served(broker, SILENT) as (client, _):
        await client.cancel("t9", task="triage", reason="superseded", tenant="acme")
        ((cancel, record),) = await read(reader)
        assert cancel == Cancel("t9", "superseded")
        assert record.headers == ((Header.TENANT, b"acme"),)


async def test_an_item_of_a_map_is_cancelled_by_the_id_that_its_caller_knows(
    broker: EmbeddedBroker, reader: Consumer
) -> None:
    async with (
        served(broker, SILENT) as (client, responder),
        aclosing(client.map("triage", ["a", "silent"], timeout_s=None)) as answers,
    ):
        await anext(answers)
        await asyncio.to_thread(responder.wait_for, 2)
        await client.cancel("1", task="triage")
        ((cancel, _),) = await read(reader)
        assert isinstance(cancel, Cancel)
        assert cancel.id == responder.requests[1].id


@pytest.mark.parametrize(("code", "error"), [("cancelled", Cancelled), ("superseded", Superseded)])
async def test_the_failure_of_a_cancelled_request_is_an_error_of_its_class(
    broker: EmbeddedBroker, code: str, error: type[Cancelled]
) -> None:
    def cancelled(record: Record, request: Request) -> Iterable[Reply]:
        yield Failure(str(request.id), "triage", code, "The request was cancelled by its sender.")

    async with served(broker, cancelled) as (client, _):
        with pytest.raises(error):
            await client.request("triage", "a")


async def test_a_missing_topic_is_said_when_a_request_is_cancelled_by_name_or_has_a_lease(
    tmp_path: Path,
) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec(TOPICS.requests, 4), TopicSpec(TOPICS.replies, 4)])
        async with served(broker) as (client, _):
            with pytest.raises(BrokerError, match=r"no topic inferstream.triage.cancels: start a worker"):
                await client.cancel("t1", task="triage")
            with pytest.raises(BrokerError, match=r"no topic .*cancels for heartbeats.*lease_s=None"):
                await client.request("triage", "a", lease_s=5)
            await client.request("triage", "a")


async def test_a_client_without_the_right_to_cancel_goes_on_and_the_log_says_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec(TOPICS.requests, 4), TopicSpec(TOPICS.replies, 4)])
        with caplog.at_level(logging.WARNING):
            async with served(broker, SILENT) as (client, _):
                for _ in range(3):
                    with pytest.raises(Timeout):
                        await client.request("triage", "silent", timeout_s=0.05)
                await client.request("triage", "a")
    (told,) = [record for record in caplog.records if "run to their end" in record.message]
    assert "inferstream.triage.cancels" in told.message


async def test_heartbeats_come_while_a_request_with_a_lease_is_pending_and_end_with_it(
    broker: EmbeddedBroker, reader: Consumer
) -> None:
    async with served(broker, SILENT) as (client, responder):
        waiting = asyncio.create_task(client.request("triage", "silent", id="t1", lease_s=1, timeout_s=None))
        await asyncio.to_thread(responder.wait_for, 1)
        headers = dict(responder.records[0].headers)
        assert headers[Header.LEASE_MS] == b"1000"
        name = headers[Header.LEASE].decode()
        beats = await read(reader, 4)
        assert all(message == Heartbeat(name) for message, _ in beats)
        assert {record.key for _, record in beats} == {name.encode()}
        waiting.cancel()
        while not isinstance((await read(reader))[0][0], Cancel):
            pass
        await asyncio.wait([waiting])
        pending = client._lease._pending[TOPICS.cancels]
        assert not pending
        await client.request("triage", "a")
        assert Header.LEASE not in dict(responder.records[-1].headers), "only where it is asked for"


async def test_a_shorter_lease_is_not_late_behind_a_longer_one(
    broker: EmbeddedBroker, reader: Consumer
) -> None:
    async with served(broker, SILENT) as (client, responder):
        waiting = []
        for number, lease_s in enumerate((3_600.0, 1.0)):
            asking = client.request("triage", "silent", lease_s=lease_s, timeout_s=None)
            waiting.append(asyncio.create_task(asking))
            await asyncio.to_thread(responder.wait_for, number + 1)
        await read(reader, 4)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_a_closed_client_cancels_its_requests_with_a_lease_and_no_others(
    broker: EmbeddedBroker, reader: Consumer
) -> None:
    async with served(broker, SILENT) as (client, responder):
        waiting = [
            asyncio.create_task(client.request("triage", "silent", id=name, timeout_s=None, lease_s=lease_s))
            for name, lease_s in (("leased", 60.0), ("free", None))
        ]
        await asyncio.to_thread(responder.wait_for, 2)
        client.abandon()
        for task in waiting:
            with pytest.raises(ShuttingDown):
                await task
    messages = [message for message, _ in await read(reader, 2)]  # on two partitions, in any order
    assert Cancel("leased") in messages
    assert any(isinstance(message, Heartbeat) for message in messages)
    await nothing_more(broker, reader)


async def test_a_client_that_cannot_send_heartbeats_says_so_before_it_sends_the_request(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = broker.publish

    def refuse(message: Message) -> "asyncio.Future[None]":
        if message.topic != TOPICS.cancels:
            return publish(message)
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refused.set_exception(NotWritable("Kafka does not let app write to it."))
        return refused

    monkeypatch.setattr(broker, "publish", refuse)
    async with served(broker) as (client, responder):
        with pytest.raises(BrokerError, match=r"grant Write, or send without a lease .* does not let app"):
            await client.request("triage", "a", lease_s=5)
        assert responder.records == []


@pytest.mark.parametrize("lease_s", [0, 0.5, -1, 4_000, "10", True, float("nan")])
async def test_a_lease_of_another_kind_is_an_error(broker: EmbeddedBroker, lease_s: object) -> None:
    async with Client(broker=broker) as client:
        with pytest.raises(UsageError, match=r"`lease_s` must be a number of seconds from 1 to 3600"):
            await client.request("triage", "a", lease_s=lease_s)  # type: ignore[call-overload]


@pytest.mark.parametrize("names", [{"id": "\ud800"}, {"id": "a", "tenant": "\ud800"}])
async def test_names_that_utf_8_cannot_hold_are_an_error(
    broker: EmbeddedBroker, names: dict[str, str]
) -> None:
    async with Client(broker=broker) as client:
        with pytest.raises(NotUtf8, match="surrogate"):
            await client.cancel(task="triage", **names)


async def test_an_unknown_reason_is_an_error(broker: EmbeddedBroker) -> None:
    async with Client(broker=broker) as client:
        with pytest.raises(UsageError, match=r"`reason` must be cancelled or superseded, not 'bored'"):
            await client.cancel("t1", task="triage", reason="bored")  # type: ignore[arg-type]


async def test_the_synchronous_client_cancels_too(
    broker: EmbeddedBroker, reader: Consumer, tmp_path: Path
) -> None:
    def cancel() -> None:
        with SyncClient(embedded=tmp_path) as client:
            client.cancel("t1", task="triage")

    await asyncio.to_thread(cancel)
    ((message, _),) = await read(reader)
    assert message == Cancel("t1")


async def test_a_stream_has_a_lease_unless_its_caller_wants_none(broker: EmbeddedBroker) -> None:
    async with served(broker) as (client, responder):
        for how in ({}, {"lease_s": 60.0}, {"lease_s": None}):
            async with client.stream("triage", "a", **how) as stream:
                await stream.answer()
    leases = [dict(record.headers).get(Header.LEASE_MS) for record in responder.records]
    assert leases == [b"10000", b"60000", None]
