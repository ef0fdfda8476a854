"""The demo of an assistant: its figures, a worker that is killed, and the whole of it as a user runs it."""

import json
import signal
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from support.decoder_home import TINY, with_decoder

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.cli.output.assistant_screen import AssistantScreen
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.lab.demo import assistant
from inferstream.pipeline.lab.demo.assistant import AssistantResult, AssistantRun, converse
from inferstream.pipeline.lab.demo.assistant_figures import AssistantFigures
from inferstream.pipeline.lab.demo.conversations import ASSISTANT_TALKS
from inferstream.pipeline.lab.demo.shown_conversations import ShownConversation, ShownTurn
from inferstream.pipeline.lab.demo.sites import DemoTask, with_workers
from inferstream.pipeline.lab.demo.worker_kill import WorkerKill
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.pipeline.ops.audit.report import AuditReport
from inferstream.schemas.generation import Usage
from inferstream.schemas.topics import Topics

QUESTIONS = sum(len(talk.questions) for talk in ASSISTANT_TALKS)
TOKENS = 24


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The options that make a decoder of a few kilobytes answer."""
    folder = tmp_path_factory.mktemp("decoder")
    (folder / "settings.toml").write_text(f'[generate]\nmodel = "{TINY}"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERSTREAM_HOME", str(folder / "home"))
        patch.setattr(assistant, "STAGGER_S", 0.01)
        patch.setattr(assistant, "TYPING_S", 0.01)
        with_decoder(folder)
        yield str(folder / "settings.toml")


def conversations() -> list[ShownConversation]:
    return [ShownConversation(number, talk) for number, talk in enumerate(ASSISTANT_TALKS)]


class Screen:
    """What the demo prepares is not shown."""

    def busy(self, words: str) -> None: ...

    def ready(self, sentence: str) -> None: ...


def test_the_figures_of_turns() -> None:
    early, late, failed = ShownTurn("a", 10.0), ShownTurn("b", 20.0), ShownTurn("c", 30.0, error="No.")
    for at in (10.5, 10.6, 12.6):
        early.add("x", at)
    late.add("y", 21.5)
    early.usage, late.usage = Usage(40, 0, 3), Usage(60, 50, 1)
    figures = AssistantFigures.of([early, late, failed], began=9.5)
    assert (figures.tokens, figures.seconds, figures.turns, figures.hits) == (4, 12.0, 2, 1)
    assert (figures.first_median_s, figures.first_worst_s) == (1.0, 1.5)
    assert figures.longest_pause_s == pytest.approx(2.0)
    assert figures.cached_share == 0.5
    assert early.text == "xxx"
    assert late.waits_s(40.0) == 0.0
    assert ShownTurn("d", 30.0).waits_s(31.0) == 1.0


def test_without_any_turn_there_are_figures_too() -> None:
    figures = AssistantFigures.of([], began=0.0)
    assert (figures.tokens_a_second, figures.first_median_s, figures.cached_share) == (0.0, 0.0, 0.0)


def test_a_conversation_ends_with_its_last_answer_or_a_failure() -> None:
    shown = conversations()[0]
    for question in shown.talk.questions:
        assert not shown.ended
        shown.turns.append(ShownTurn(question, 0.0, usage=Usage(1, 0, 1)))
    assert shown.ended
    shown.turns[:] = [ShownTurn("a", 0.0, error="No.")]
    assert shown.ended


@pytest.mark.parametrize(("width", "height"), [(60, 20), (80, 24), (200, 60), (20, 5)])
def test_the_panels_fit_any_terminal(width: int, height: int) -> None:
    console = Console(width=width, height=height, force_terminal=True, record=True, file=StringIO())
    screen = AssistantScreen(console, 5)
    run = AssistantRun("run", conversations(), TOKENS)
    for one in run.conversations[:3]:
        one.turns.append(ShownTurn(one.talk.questions[0], run.began))
        one.turns[0].add("[bold]word \x1b]0;title\x07 " * 200, run.began)
    console.print(screen.live(run).get_renderable())
    shown = console.export_text()
    assert all(talk.name in shown for talk in ASSISTANT_TALKS[:5])
    assert "\x1b]0;" not in shown
    assert max(len(line) for line in shown.splitlines()) <= width


def test_the_demo_in_one_process(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "assistant", "--max-tokens", "8", "--config", tiny]) == 0
    shown = capsys.readouterr().out
    asked = [question for talk in ASSISTANT_TALKS[:5] for question in talk.questions]
    assert all(shown.count(f" {question}  →  ") == 1 for question in asked)
    assert (
        f"{QUESTIONS} requests → {QUESTIONS} terminal events: 0 lost, 0 duplicated, 0 out of order" in shown
    )
    assert all(word in shown for word in ("tokens/s", "first token", "read before", "batches"))
    assert "killed" not in shown.partition("requests →")[0]


def test_the_figures_as_json(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "assistant", "--json", "--max-tokens", "8", "--config", tiny]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["lost"], figures["duplicated"], figures["out_of_order"], figures["torn"]) == (0, 0, 0, 0)
    assert figures["results"] == QUESTIONS
    turns = [turn for one in figures["conversations"] for turn in one["turns"]]
    assert figures["tokens"] == sum(turn["tokens"] for turn in turns)
    assert figures["cached_tokens"] > 0, "the second turns and the system prompt"
    assert figures["killed_worker"] is None


def test_a_repeated_end_is_clean_only_behind_a_kill() -> None:
    run = AssistantRun("run", conversations(), TOKENS)
    for one in run.conversations:
        one.turns += [ShownTurn(question, 0.0, usage=Usage(1, 0, 1)) for question in one.talk.questions]
    report = AuditReport(None, None, requests=QUESTIONS, results=QUESTIONS)
    assert AssistantResult(run, run.figures(), report).clean
    report.duplicated = 1
    assert not AssistantResult(run, run.figures(), report).clean
    run.kill = WorkerKill([], 0)
    run.kill.number = 1
    assert AssistantResult(run, run.figures(), report).clean
    report.contradictory = 1
    assert not AssistantResult(run, run.figures(), report).clean
    for problem in ("missing", "out_of_order", "torn"):
        report = AuditReport(None, None, requests=QUESTIONS, results=QUESTIONS)
        setattr(report, problem, 1)
        assert not AssistantResult(run, run.figures(), report).clean
    run.conversations[0].turns[0].usage = None
    assert not AssistantResult(run, run.figures(), AuditReport(None, None)).clean


def test_options_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "assistant", "--kafka", "h:1", "--kafka-local"]) == 2
    assert run(["demo", "--requests", "40", "assistant"]) == 2
    assert "`inferstream demo assistant …`" in capsys.readouterr().err


async def test_all_conversations_go_on_when_a_worker_is_killed(
    kafka: str, unique: str, tiny: str, tmp_path: Path
) -> None:
    settings = KafkaConfig(bootstrap=kafka, topic_prefix=unique)
    shown = DemoTask("generate", (TINY,))
    run = AssistantRun("run", conversations(), TOKENS)
    async with with_workers(settings, Screen(), shown, 2, tmp_path) as site:
        result = await converse(site, Audited(Topics("generate", unique)), run, lambda *_: None)
        assert run.kill is not None
        assert run.kill.number is not None
        assert site.workers[run.kill.number - 1].wait(10) == -signal.SIGKILL
        assert sum(worker.running for worker in site.workers) == 1
    assert [turn.error for one in run.conversations for turn in one.turns] == [""] * QUESTIONS
    assert (result.audit.requests, result.audit.results, result.clean) == (QUESTIONS, QUESTIONS, True)
