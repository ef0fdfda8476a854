"""Workers as processes on a real Kafka, asked by foreign clients: they share, leave, die, and nothing is lost."""

import json
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from support import INFERSTREAM
from support.foreign_client import ForeignClient

from inferstream.pipeline.home import home_folder
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.lab.worker_process import WorkerProcess, serve_task
from inferstream.schemas.topics import Topics

REQUESTS = 1_500
KEYS = 40
SOME = 150
"""After this many replies the workers are under load."""


@pytest.fixture(scope="module", autouse=True)
def model() -> None:
    """The model that workers serve by default; fetched once, then this takes no time."""
    subprocess.run([INFERSTREAM, "models", "pull", "minilm"], check=True, capture_output=True)


@pytest.fixture
def topics(unique: str) -> Topics:
    return Topics("triage", unique)


class Fleet:
    """Workers of one group, with the models of this machine and nothing else that earlier workers left there."""

    def __init__(self, kafka: str, topics: Topics, directory: Path) -> None:
        self._requests = topics.requests
        self._arguments = ("--kafka", kafka, "--topic-prefix", topics.prefix, "--no-cache")
        self._directory = directory
        self._home = directory / "home"
        self._home.mkdir()
        (self._home / "models").symlink_to(home_folder() / "models")
        self.workers: list[WorkerProcess] = []

    def start(self, *arguments: str) -> WorkerProcess:
        log = self._directory / f"worker-{len(self.workers)}.log"
        program = serve_task("triage", *self._arguments, *arguments)
        self.workers.append(WorkerProcess(program, log=log, home=self._home))
        return self.workers[-1]

    def two_that_share(self) -> tuple[WorkerProcess, WorkerProcess]:
        """Two ready workers with two of the four partitions of requests each; retry topics are shared on their own."""
        first = self.start()
        first.wait_ready()
        second = self.start()
        for worker in (first, second):
            worker.wait_for(f"Serving 2 partitions. Topics: {self._requests}.")
        return first, second


@pytest.fixture
def fleet(kafka: str, topics: Topics, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(kafka, topics, tmp_path)
    yield fleet
    for worker in fleet.workers:
        worker.kill()
        print(worker.output)


@pytest.fixture
def client(kafka: str, topics: Topics) -> Iterator[ForeignClient]:
    client = ForeignClient(kafka, topics)
    yield client
    client.close()


def requests() -> Iterator[tuple[str, dict[str, object]]]:
    """Requests by key, numbered within their key, no two alike."""
    for number in range(REQUESTS):
        key, step = number % KEYS, number // KEYS
        yield (
            f"customer-{key}",
            {"id": f"{key}:{step}", "text": f"Order {number} was charged twice, please refund it."},
        )


def out_of_order(ids: list[str]) -> list[tuple[int, int]]:
    """Neighbors of one key whose numbers do not rise, each request counted where it first appears."""
    steps: dict[str, list[int]] = defaultdict(list)
    for identity in dict.fromkeys(ids):
        key, step = identity.split(":")
        steps[key].append(int(step))
    return [pair for of_key in steps.values() for pair in pairwise(of_key) if pair[0] >= pair[1]]


def test_one_of_two_leaves_under_load_and_nothing_is_lost_or_doubled(
    fleet: Fleet, client: ForeignClient
) -> None:
    staying, leaving = fleet.two_that_share()
    client.send(requests())
    client.read(SOME)
    leaving.signal(signal.SIGTERM)
    assert leaving.wait() == 0
    client.read(REQUESTS)
    assert {reply["type"] for reply in client.replies} == {"result"}
    assert len(client.replies) == len(client.answered) == REQUESTS
    assert out_of_order([reply["id"] for reply in client.replies]) == []
    staying.signal(signal.SIGTERM)
    assert staying.wait() == 0


def test_one_of_two_is_killed_under_load_and_every_request_is_answered(
    fleet: Fleet, client: ForeignClient
) -> None:
    _, dying = fleet.two_that_share()
    client.send(requests())
    client.read(SOME)
    dying.signal(signal.SIGKILL)
    client.read(REQUESTS)
    assert {reply["type"] for reply in client.replies} == {"result"}
    assert out_of_order([reply["id"] for reply in client.replies]) == []


def test_a_named_worker_restarts_and_the_others_keep_their_partitions(
    fleet: Fleet, client: ForeignClient, topics: Topics, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[kafka]\nsession_timeout_ms = 60_000\n")  # a slow machine restarts slowly

    def start(member: str) -> WorkerProcess:
        return fleet.start("--config", str(settings), "--member", member)

    serving = f"partitions. Topics: {topics.requests}."
    staying = start("first")
    staying.wait_ready()
    leaving = start("second")
    for worker in (staying, leaving):
        worker.wait_for(f"Serving 2 {serving}")
    shared = staying.output.count(serving)
    leaving.signal(signal.SIGTERM)
    assert leaving.wait() == 0
    start("second").wait_for(f"Serving 2 {serving}")
    client.send(requests())
    client.read(REQUESTS)
    assert len(client.replies) == REQUESTS
    assert staying.output.count(serving) == shared, "no rebalance"


def test_the_same_request_from_kcat_and_librdkafka_gets_the_same_answer(
    fleet: Fleet, client: ForeignClient, kafka: str, topics: Topics, kcat: Path
) -> None:
    fleet.start().wait_ready()
    client.send([("any", {"id": "t0", "text": "I was charged twice"})])
    body = b'{"id":"t1","text":"I was charged twice"}\n'
    subprocess.run([kcat, "-P", "-b", kafka, "-t", topics.requests], input=body, check=True, timeout=60)
    client.read(2)
    read = [kcat, "-C", "-q", "-e", "-b", kafka, "-t", topics.replies, "-o", "beginning"]
    lines = subprocess.run(read, check=True, capture_output=True, timeout=60).stdout.splitlines()
    by_id = {reply["id"]: reply for reply in map(json.loads, lines)}
    assert set(by_id) == {"t0", "t1"}
    assert by_id["t0"]["output"] == by_id["t1"]["output"]
    assert by_id["t1"]["output"]["category"]


def test_garbage_from_a_foreign_client_is_answered_and_others_are_too(
    fleet: Fleet, client: ForeignClient
) -> None:
    fleet.start().wait_ready()
    client.send([("a", {"id": "bad", "text": "   "}), ("a", {"id": "good", "text": "I was charged twice"})])
    client.read(2)
    codes = {reply["id"]: reply.get("code") for reply in client.replies}
    assert codes == {"bad": "blank_text", "good": None}


COMPLAINT = "I was charged twice for order 4711. Please refund the second payment."
MAIL = f"""<html><body><div>{COMPLAINT}</div>
<div class="gmail_quote">On Mon, 3 Feb 2025 at 10:12, Shop &lt;help@shop.example&gt; wrote:<br>
<blockquote>Thank you for your order! Download our app, and rate the delivery of your parcel.</blockquote></div>
</body></html>"""


def test_a_mail_that_is_cleaned_has_the_answer_of_its_text(fleet: Fleet, client: ForeignClient) -> None:
    fleet.start().wait_ready()
    cleaned = {"clean": "mail"}
    requests = [("plain", COMPLAINT, {}), ("mail", MAIL, cleaned), ("as it is", MAIL, {})]
    client.send([(name, {"id": name, "text": text, "options": given}) for name, text, given in requests])
    client.read(len(requests))
    outputs = {reply["id"]: reply["output"] for reply in client.replies}
    assert outputs["mail"] == outputs["plain"]
    assert outputs["as it is"] != outputs["plain"]


def test_a_healthy_start_and_end_on_a_new_kafka_warn_of_nothing(topics: Topics, tmp_path: Path) -> None:
    """Without the topic of its offsets, which Kafka makes for its first group."""
    with LocalKafka(tmp_path / "kafka", port=0) as kafka:
        fleet = Fleet(kafka.bootstrap, topics, tmp_path)
        try:
            workers = fleet.two_that_share()
            client = ForeignClient(kafka.bootstrap, topics)
            client.send(islice(requests(), SOME))
            client.read(SOME)
            client.close()
            for worker in reversed(workers):
                worker.signal(signal.SIGTERM)
                assert worker.wait() == 0
        finally:
            for worker in fleet.workers:
                worker.kill()
    lines = [line for worker in fleet.workers for line in worker.output.splitlines()]
    assert [line for line in lines if " INFO inferstream." not in line] == []


def test_a_worker_on_kafka_has_its_pages_and_its_three_topics_and_nothing_of_fausts(
    fleet: Fleet, client: ForeignClient, topics: Topics
) -> None:
    worker = fleet.start()
    worker.wait_ready()
    names = client.topic_names()
    assert {topics.requests, topics.replies, topics.dead_letters} <= names
    assert not [name for name in names if "__assignor" in name or name.startswith("inferstream-triage")]
    assert worker.page("/healthz") is not None
    assert worker.page("/metrics")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_broker_that_does_not_answer_ends_the_worker_with_one_sentence(tmp_path: Path) -> None:
    worker = WorkerProcess(serve_task("triage", "--kafka", "127.0.0.1:1"), log=tmp_path / "log")
    assert worker.wait() == 1
    assert worker.output.splitlines()[-1].startswith("Error: Cannot reach Kafka")
    assert "Traceback" not in worker.output


def test_a_taken_port_is_named(fleet: Fleet) -> None:
    first = fleet.start()
    first.wait_for("/healthz")
    port = first.output.partition("http://127.0.0.1:")[2].partition("/")[0]
    second = fleet.start("--web-port", port)
    assert second.wait() == 2
    assert f"Port {port} of 127.0.0.1 is taken" in second.output


def test_a_request_topic_that_is_deleted_ends_the_worker_with_one_sentence(
    fleet: Fleet, kafka: str, topics: Topics
) -> None:
    worker = fleet.start()
    worker.wait_ready()
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([topics.requests])[topics.requests].result(30)
    assert worker.wait() == 1
    assert worker.output.splitlines()[-1].startswith(
        f"Error: The topic {topics.requests} was deleted: start the"
    )
