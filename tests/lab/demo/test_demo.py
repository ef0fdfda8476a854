"""The demo: its traffic, its figures, its audit, and the whole of it as a user runs it."""

import json
import signal
from pathlib import Path

import msgspec
import pytest

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.client.replies import Answer
from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.lab.demo.demo import DemoResult
from inferstream.pipeline.lab.demo.figures import Figures
from inferstream.pipeline.lab.demo.traffic import Ticket, load_tickets, plan_traffic
from inferstream.pipeline.lab.worker_process import WorkerProcess, serve_task
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.ops.audit.report import AuditReport
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.schemas.messages import BatchInfo, CacheStatus, Failure, Result, TriageOutput
from inferstream.schemas.topics import Topics

TOPICS = Topics("triage")
OUTPUT = TriageOutput("billing", 0.9, "high", "desk", needs_human=False)
RAW = msgspec.Raw(msgspec.json.encode(OUTPUT))


def result(request_id: str, cache: CacheStatus = "miss", batch: BatchInfo | None = None) -> Result:
    return Result(request_id, "triage", "m", "1", RAW, cache=cache, batch=batch)


@pytest.fixture(scope="module")
def minilm() -> None:
    """The model in the user's cache folder, as a user has it; fetched on the first run."""
    pull(ModelRegistry(), "minilm", lambda step, done, total: None)


def test_traffic_repeats_all_tickets_and_is_the_same_again() -> None:
    tickets = [Ticket(f"ticket {number}", "billing") for number in range(50)]
    traffic = plan_traffic(tickets, 400, "run")
    assert traffic == plan_traffic(tickets, 400, "run")
    assert [request.id for request in traffic.requests] == [f"run-{number}" for number in range(400)]
    assert len(traffic.requests) == 400
    assert traffic.different == 53
    assert traffic.broken == 3
    assert len(traffic.expected) == 397


def test_the_examples_are_found_in_the_checkout(tmp_path: Path) -> None:
    assert len(load_tickets(None)) > 200
    (tmp_path / "bad.jsonl").write_text('{"text": []}\n')
    for name, sentence in (("bad.jsonl", "line 1: 'text' is a list"), ("gone.csv", "No such file")):
        with pytest.raises(UsageError, match=sentence):
            load_tickets(tmp_path / name)


def test_tickets_of_a_table_with_other_columns(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("body\tqueue\nwhere is it\tdelivery\n\tx\nhi\t\n")
    assert load_tickets(tmp_path / "t.tsv", "body", "queue") == [
        Ticket("where is it", "delivery"),
        Ticket("hi", None),
    ]


def test_figures_count_each_batch_once() -> None:
    figures = Figures(0.0, 0.0)
    four, lone = (
        BatchInfo(rows=4, tokens=90, padded_tokens=100),
        BatchInfo(rows=1, tokens=100, padded_tokens=100),
    )
    for at, batch in enumerate([four] * 4 + [lone], start=1):
        figures.observe(Answer(OUTPUT, result("1", batch=batch)), at - 0.5, at, "billing")
    figures.observe(Answer(OUTPUT, result("1", "memory")), 9.0, 10.0, "other")
    figures.observe(Failure("1", "triage", "blank_text", "Send more."), 9.0, 10.0, None)
    assert (figures.batches.count, figures.batches.mean) == (2, 2.5)
    assert figures.batches.padding_share == pytest.approx(10 / 200)
    assert (figures.replies, figures.answered, figures.per_second) == (7, 6, 0.7)
    assert (figures.as_expected, figures.with_expectation) == (5, 6)
    assert figures.codes == {"blank_text": 1}
    assert figures.percentile_ms(50) == 500


def test_a_result_is_clean_only_with_one_terminal_event_for_each_request() -> None:
    report = AuditReport(None, None, requests=5, results=2, expired=1, dead_letters=1)
    report.failures["blank_text"] = 1
    result = DemoResult(Figures(0.0, 1.0), report)
    assert (result.terminal_events, result.failures, result.clean) == (5, 2, True)
    report.duplicated = 1
    assert (result.terminal_events, result.clean) == (6, False)
    for problem in ("missing", "open", "elsewhere", "out_of_order"):
        report = AuditReport(None, None, requests=5, results=4)
        setattr(report, problem, 1)
        assert not DemoResult(Figures(0.0, 1.0), report).clean


def test_the_demo_in_one_process(minilm: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--requests", "120"]) == 0
    shown = capsys.readouterr().out
    assert "120 requests → 120 terminal events: 0 lost, 0 duplicated" in shown
    assert "117 results, 3 failures, 0 dead letters" in shown
    assert all(word in shown for word in ("blank_text", "unknown_option", "p99", "padding", "throughput"))


def test_the_demo_without_its_topics_says_what_to_start(
    kafka: str, unique: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("inferstream.pipeline.lab.demo.sites.READY_S", 0.2)
    assert run(["demo", "--kafka", kafka, "--topic-prefix", unique, "--requests", "30"]) == 1
    assert (
        f"Start a worker, which creates it: `inferstream worker triage --kafka {kafka}`"
        in capsys.readouterr().err
    )


def test_what_is_lost_makes_the_demo_fail(
    kafka: str, unique: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = ["--kafka", kafka, "--topic-prefix", unique]
    assert run(["topics", "triage", *address]) == 0
    monkeypatch.setattr("inferstream.pipeline.lab.demo.demo.TIMEOUT_S", 0.5)
    assert run(["demo", *address, "--requests", "30"]) == 1
    assert "30 requests → 0 terminal events: 30 lost, 0 duplicated" in capsys.readouterr().out


async def test_the_demo_with_workers_elsewhere(kafka: str, unique: str, minilm: None, tmp_path: Path) -> None:
    from asyncio.subprocess import PIPE, create_subprocess_exec
    from sys import executable

    arguments = ["--kafka", kafka, "--topic-prefix", unique, "--cache-dir", str(tmp_path)]
    with WorkerProcess(serve_task("triage", *arguments), log=tmp_path / "log") as worker:
        demo = await create_subprocess_exec(
            *[executable, "-m", "inferstream.pipeline.cli.main", "demo", "--json", "--requests", "200"],
            *arguments[:4],
            stdout=PIPE,
        )
        shown = json.loads((await demo.communicate())[0])
        assert demo.returncode == 0
        assert worker.replies() == 200
        worker.signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    assert (shown["requests"], shown["terminal_events"], shown["lost"], shown["duplicated"]) == (
        200,
        200,
        0,
        0,
    )
    assert shown["failures"] == 3


def test_a_worker_that_cannot_start_raises_its_last_line(tmp_path: Path) -> None:
    arguments = serve_task("tirage", "--kafka", "127.0.0.1:1")
    with WorkerProcess(arguments, log=tmp_path / "log") as worker:
        with pytest.raises(Exception, match="A worker ended with status 2: Error: There is no task 'tirage'"):
            worker.wait_ready(30)
        assert worker.wait(10) == 2
