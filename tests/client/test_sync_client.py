"""The synchronous client: in several threads, interrupted, closed, and after a fork."""

import asyncio
import gc
import inspect
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.responder import TIMEOUT_S, Responder, answer_all_except, responder_thread

from inferstream import (
    Answer,
    BrokerError,
    Client,
    Failure,
    NotUtf8,
    ShuttingDown,
    SyncClient,
    Timeout,
    TriageOptions,
    TriageOutput,
    UsageError,
    WrongType,
)


@pytest.fixture
def responder(tmp_path: Path) -> Iterator[Responder]:
    with responder_thread(tmp_path) as responder:
        yield responder


@pytest.fixture
def client(tmp_path: Path, responder: Responder) -> Iterator[SyncClient]:
    with SyncClient(embedded=tmp_path) as client:
        yield client


def routes(answers: Iterable[Answer[TriageOutput] | Failure]) -> list[str]:
    return [answer.code if isinstance(answer, Failure) else answer.output.route for answer in answers]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "inferstream-client"]


def test_a_request_and_a_map(client: SyncClient, responder: Responder) -> None:
    answer = client.request("triage", "a", id="t1", options=TriageOptions(runners_up=3))
    assert (answer.output.route, answer.reply.id) == ("a", "t1")
    assert responder.requests[0].options == {"runners_up": 3}
    assert routes(client.map("triage", ["a", "b", "c"], max_in_flight=2)) == ["a", "b", "c"]
    assert sorted(routes(client.map("triage", ["abc", "def"], ordered=False))) == ["abc", "def"]
    assert routes(client.map("triage", [])) == []


def test_many_threads_share_a_client(client: SyncClient) -> None:
    texts = [str(number) for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: client.request("triage", text).output.route, texts))
        mapped = list(pool.map(lambda _: routes(client.map("triage", texts)), range(4)))
    assert answers == texts
    assert mapped == [texts] * 4


def test_a_client_opens_itself_and_closes(tmp_path: Path, responder: Responder) -> None:
    client = SyncClient(embedded=tmp_path)
    assert client.request("triage", "a").output.route == "a"
    client.close()
    client.close()
    for attempt in (
        lambda: client.request("triage", "a"),
        lambda: client.map("triage", ["a"]),
        client.__enter__,
    ):
        with pytest.raises(ShuttingDown, match=r"The client is closed: make a new one\."):
            attempt()
    assert threads() == []


def test_a_client_that_is_forgotten_closes(tmp_path: Path, responder: Responder) -> None:
    client = SyncClient(embedded=tmp_path)
    client.request("triage", "a")
    assert len(threads()) == 1
    del client
    gc.collect()
    assert threads() == []


def test_a_client_that_cannot_open_tries_again(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    client = SyncClient(embedded=folder)
    with pytest.raises((BrokerError, OSError)) as failed:
        client.request("triage", "a")
    assert str(failed.value)
    assert threads() == []
    folder.unlink()
    with pytest.raises(BrokerError, match="There is no topic"):
        client.request("triage", "a")
    client.close()


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        (lambda client: client.request("triage", None), WrongType),
        (lambda client: client.request("triage", "a", timeout_s=-1), UsageError),
        (lambda client: client.request("triage", "\ud800"), NotUtf8),
        (lambda client: client.map("triage", "a string"), UsageError),
        (lambda client: client.map("triage", ["a"], max_in_flight=0), UsageError),
        (lambda client: client.request("triage", "a", tmieout_s=5), TypeError),
    ],
)
def test_wrong_arguments_raise_at_the_call(client: SyncClient, attempt: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        attempt(client)


def test_asynchronous_items_and_brokers_belong_to_the_other_client(client: SyncClient) -> None:
    async def items() -> Any:
        yield "a"

    with pytest.raises(UsageError, match="`texts` is asynchronous"):
        client.map("triage", items())  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="`broker` belongs to another event loop"):
        SyncClient(broker=object())  # type: ignore[arg-type]


def test_a_timeout(client: SyncClient, responder: Responder) -> None:
    responder.behavior = answer_all_except("b")
    client.request("triage", "a")
    with pytest.raises(Timeout):
        client.request("triage", "b", timeout_s=0.05)


def test_map_reads_in_the_thread_of_its_caller(client: SyncClient) -> None:
    """Cursors of sqlite3 can be used in the thread that made them only."""
    rows = sqlite3.connect(":memory:")
    texts = (row[0] for row in rows.execute("VALUES ('a'), ('b')"))
    assert routes(client.map("triage", texts)) == ["a", "b"]
    rows.close()


def test_map_reads_only_as_fast_as_its_answers_are_taken(client: SyncClient) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield str(read)

    answers = client.map("triage", endless(), max_in_flight=7)
    for taken in range(30):
        next(answers)
        assert read <= taken + 1 + 8
    answers.close()
    assert client.request("triage", "a").output.route == "a"


def test_map_raises_what_its_items_raise_after_the_answers_before(client: SyncClient) -> None:
    def items() -> Iterator[str]:
        yield from "ab"
        raise LookupError("the mail server is gone")

    answers = []
    with pytest.raises(LookupError, match="mail server"):  # noqa: PT012
        for answer in client.map("triage", items()):
            answers.append(answer)  # noqa: PERF402
    assert routes(answers) == ["a", "b"]


def test_an_item_that_is_an_exception_is_its_own_failure(client: SyncClient) -> None:
    items: Any = ["a", ValueError("x"), StopAsyncIteration(), "c"]
    assert routes(client.map("triage", items)) == ["a", "wrong_type", "wrong_type", "c"]


def interrupt_when(responder: Responder, requests: int) -> threading.Thread:
    def interrupt() -> None:
        responder.wait_for(requests)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


def test_an_interrupted_request_leaves_a_usable_client(client: SyncClient, responder: Responder) -> None:
    responder.behavior = answer_all_except("b")
    interrupting = interrupt_when(responder, 1)
    with pytest.raises(KeyboardInterrupt):
        client.request("triage", "b", id="t1", timeout_s=None)
    interrupting.join()
    assert client.request("triage", "a", id="t1").output.route == "a"


def test_an_interrupted_map_leaves_a_usable_client(client: SyncClient, responder: Responder) -> None:
    responder.behavior = answer_all_except("b")
    interrupting = interrupt_when(responder, 2)
    with pytest.raises(KeyboardInterrupt):
        list(client.map("triage", ["a", "b", "c"], timeout_s=None))
    interrupting.join()
    assert client.request("triage", "a").output.route == "a"


def test_closing_ends_the_requests_of_other_threads(tmp_path: Path, responder: Responder) -> None:
    responder.behavior = lambda record, request: []
    client = SyncClient(embedded=tmp_path)
    with ThreadPoolExecutor() as pool:
        request = pool.submit(client.request, "triage", "a", timeout_s=None)
        mapped = pool.submit(lambda: list(client.map("triage", ["b", "c"], timeout_s=None)))
        responder.wait_for(3)
        client.close()
        for future in (request, mapped):
            with pytest.raises(ShuttingDown):
                future.result(TIMEOUT_S)


def test_requests_while_it_closes_end(tmp_path: Path, responder: Responder) -> None:
    """Whatever the moment: each request has its answer, or an error, and none waits for ever."""
    for _ in range(5):
        client = SyncClient(embedded=tmp_path)
        client.request("triage", "a")

        def call(number: int, client: SyncClient = client) -> str:
            try:
                return client.request("triage", str(number), timeout_s=None).output.route
            except ShuttingDown:
                return "closed"

        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(call, number) for number in range(100)]
            calls[20].result(TIMEOUT_S)
            client.close()
            ended = [future.result(TIMEOUT_S) for future in calls]
        assert all(route in ("closed", str(number)) for number, route in enumerate(ended))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_client_after_a_fork_says_so(client: SyncClient) -> None:
    client.request("triage", "a")
    answers = client.map("triage", ["a", "b"])
    next(answers)
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        for attempt in (lambda: client.request("triage", "a"), lambda: next(answers)):
            try:
                attempt()
            except UsageError as error:
                os.write(writing, str(error).encode())
        client.close()
        answers.close()
        os.write(writing, b" Closed.")
        os._exit(0)
    os.waitpid(pid, 0)
    said = os.read(reading, 1_000).decode()
    assert said.count(f"and this is a fork of it ({pid}): open a client after the fork.") == 2
    assert said.endswith(" Closed.")
    assert routes(answers) == ["b"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_client_that_is_made_before_a_fork_opens_after_it(tmp_path: Path, responder: Responder) -> None:
    """As with servers that load the program, and then fork their workers."""
    client = SyncClient(embedded=tmp_path)
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writing, client.request("triage", "a").output.route.encode())
        client.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 100) == b"a"
    assert client.request("triage", "b").output.route == "b"
    client.close()


@pytest.mark.kafka
def test_over_kafka(kafka: str, unique: str) -> None:
    client = SyncClient(kafka, prefix=unique)
    with pytest.raises(BrokerError, match="inferstream worker triage --kafka"):
        client.request("triage", "a")
    client.close()
    with pytest.raises(BrokerError, match="reach"):
        SyncClient("127.0.0.1:1").request("triage", "a")
    assert threads() == []


async def test_a_running_event_loop_of_the_caller_does_not_matter(client: SyncClient) -> None:
    """As in a notebook."""
    assert client.request("triage", "a").output.route == "a"
    assert await asyncio.to_thread(lambda: client.request("triage", "b").output.route) == "b"


@pytest.mark.parametrize("rest", ["", "del client", "import sys; sys.exit()", "kept = [client, answers]"])
def test_a_program_that_forgets_to_close_ends(tmp_path: Path, responder: Responder, rest: str) -> None:
    code = f"""import inferstream
client = inferstream.SyncClient(embedded={str(tmp_path)!r})
print(client.request("triage", "a").output.route)
answers = client.map("triage", ["a", "b"])
next(answers)
{rest}
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("a\n", ""), time.monotonic() - began


@pytest.mark.parametrize("name", ["request", "map", "stream", "cancel", "label"])
def test_the_documentation_is_that_of_the_client(name: str) -> None:
    ours, theirs = getattr(SyncClient, name), getattr(Client, name)
    assert ours.__doc__ == theirs.__doc__.replace("async ", "").replace("await ", "")
    assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters
    assert inspect.signature(SyncClient.__init__).parameters == inspect.signature(Client.__init__).parameters
