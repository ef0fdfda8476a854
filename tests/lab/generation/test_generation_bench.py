"""The parts of `bench-assistant` that need no machine to themselves: prompts, turns, figures, peers that are absent."""

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from inferstream.pipeline.errors import InferstreamError, UsageError
from inferstream.pipeline.lab.bench.processes import ProcessGroup
from inferstream.pipeline.lab.generation.arrivals import ArrivedPrompt, StreamsAtOnce, arrival, at_once
from inferstream.pipeline.lab.generation.bench_prompt import BenchPrompt, BenchPrompts
from inferstream.pipeline.lab.generation.exact_suite import ExactMeasurements
from inferstream.pipeline.lab.generation.figures import generation_figures, generation_speeds
from inferstream.pipeline.lab.generation.generating_system import streamed
from inferstream.pipeline.lab.generation.generation_rounds import (
    ENGINE,
    OURS,
    GenerationEffort,
    GenerationRound,
    GenerationRounds,
    RoundPrompts,
)
from inferstream.pipeline.lab.generation.other_figures import exact_figures, prefix_figures, scaling_figures
from inferstream.pipeline.lab.generation.over_kafka import OverKafka
from inferstream.pipeline.lab.generation.peers import (
    OPENVINO,
    Q4_0,
    Q4_0_SMALL,
    Q4_1,
    absent_peers,
    weights_of,
)
from inferstream.pipeline.lab.generation.prefix_suite import KEEPING, PLAIN, PrefixMeasurements
from inferstream.pipeline.lab.generation.scaling_suite import steady_per_s
from inferstream.pipeline.lab.generation.sleeping_generator import SleepingDecoder
from inferstream.pipeline.lab.generation.spread import spread
from inferstream.pipeline.lab.generation.suite import GenerationMeasurements
from inferstream.pipeline.models.manifest import Manifest
from inferstream.pipeline.runtime.generated_row import GeneratedRow, Generation
from inferstream.pipeline.runtime.model import More
from inferstream.schemas.generation import Token

PROMPT = BenchPrompt("abc", [1, 2, 3])


class SteadySystem:
    """Gives a token each ``step_s``, without the last ``lost`` ones of each stream."""

    def __init__(self, step_s: float = 0.005, lost: int = 0) -> None:
        self.step_s = step_s
        self.lost = lost
        self.paused = True
        self.asked: list[BenchPrompt] = []

    async def stream(self, prompt: BenchPrompt, count: int, times: list[float]) -> None:
        assert not self.paused
        self.asked.append(prompt)
        for _ in range(count - self.lost):
            await asyncio.sleep(self.step_s)
            times.append(time.perf_counter())

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


def test_prompts_have_the_length_that_is_asked_for_and_differ_from_the_beginning(tiny: Manifest) -> None:
    prompts = BenchPrompts(tiny)
    for length in (5, 37, 200):
        one, other = prompts.of_length(length, 1), prompts.of_length(length, 2)
        assert len(one.tokens) == len(other.tokens) == length
        assert one.tokens[:2] != other.tokens[:2]
    questions = prompts.questions(20)
    assert len({one.text for one in questions}) == 20


async def test_a_stream_with_tokens_missing_is_no_figure() -> None:
    system = SteadySystem(lost=1)
    system.resume()
    with pytest.raises(InferstreamError, match="3 tokens came of 4"):
        await streamed(system, PROMPT, 4)


async def test_streams_at_once_count_from_asking_to_the_last_token() -> None:
    system = SteadySystem()
    system.resume()
    turn = await at_once(system, [PROMPT] * 3, 4)
    assert turn.tokens == 12
    assert len(turn.first_s) == 3
    assert turn.seconds >= 4 * system.step_s
    assert turn.per_s == 12 / turn.seconds


async def test_the_longest_gap_is_that_of_the_others_until_the_first_token() -> None:
    class Held(SteadySystem):
        async def stream(self, prompt: BenchPrompt, count: int, times: list[float]) -> None:
            if prompt.text == "long":
                time.sleep(0.1)  # noqa: ASYNC251 - nothing else runs meanwhile, as on a device
            await super().stream(prompt, count, times)

    system = Held()
    system.resume()
    found = await arrival(system, [PROMPT] * 2, BenchPrompt("long", [1]), 60, 3)
    assert found.longest_gap_s >= 0.1
    assert found.first_s >= 0.1
    assert found.step_s < 0.1


def test_the_tokens_of_one_character_are_no_gap_in_what_is_told() -> None:
    times: list[float] = []
    spread(times, 1.0, 1)
    spread(times, 1.3, 3)
    spread(times, 1.4, 0)
    assert times == pytest.approx([1.0, 1.1, 1.2, 1.3])


async def test_over_kafka_the_tokens_of_one_character_are_spread() -> None:
    class Client:
        async def generate(self, *_: object, **__: object) -> AsyncIterator[Token]:
            for number, text in enumerate(("a", "", "", "é", "")):
                if text:
                    await asyncio.sleep(0.03)
                yield Token(number, text)

    times: list[float] = []
    await OverKafka(ProcessGroup([]), Client()).stream(PROMPT, 5, times)  # type: ignore[arg-type]
    first, second, third, fourth, last = times
    assert second - first == pytest.approx(third - second) == pytest.approx(fourth - third)
    assert second - first >= 0.009
    assert last >= fourth


async def test_others_that_have_ended_give_an_endless_gap() -> None:
    system = SteadySystem()
    system.resume()
    found = await arrival(system, [PROMPT] * 2, PROMPT, 2, 2)
    assert found.longest_gap_s == math.inf


async def test_a_system_is_paused_but_in_its_turn() -> None:
    class Told:
        def begin(self, turns: int) -> None: ...

        def turn(self, what: str) -> None:
            said.append(what)

    said: list[str] = []
    systems = {OURS: SteadySystem(0.001), ENGINE: SteadySystem(0.001)}
    effort = GenerationEffort(rounds=1, streams=2, count=3, others_count=200, settled=1)
    rounds = GenerationRounds(systems, RoundPrompts([PROMPT] * 2, PROMPT, PROMPT), effort, Told())
    await rounds.warm_up()
    found = await rounds.run(0)
    assert all(system.paused for system in systems.values())
    assert set(found.alone) == set(found.together) == {OURS, ENGINE}
    assert set(found.late) == set(found.long) == {OURS}
    assert len(said) == 4


def test_peers_that_are_not_installed_are_told_in_a_sentence(tmp_path: Path) -> None:
    told = absent_peers(sys.executable)
    assert set(told) == {"llama.cpp", "OpenVINO GenAI"}
    assert told["llama.cpp"].endswith("has no xllamacpp and gguf (pip install xllamacpp gguf).")
    with pytest.raises(UsageError, match="give the Python of an environment"):
        absent_peers(str(tmp_path / "python"))


def test_the_weights_of_the_peers_are_those_of_the_model(tiny: Manifest, tmp_path: Path) -> None:
    assert weights_of(tiny).suffix == ".gguf"
    other = replace(tiny, graph_path=str(tmp_path / "model.onnx"))
    with pytest.raises(UsageError, match="leave --peers out"):
        weights_of(other)


def a_round(factor: float) -> GenerationRound:
    """A round in which all that is ours is ``factor`` times as fast as it should be."""

    def speeds(ours: float, engine: float, of: float) -> dict[str, StreamsAtOnce]:
        per_s = {
            OURS: ours,
            ENGINE: engine,
            Q4_0: of,
            Q4_0_SMALL: of * 0.9,
            Q4_1: of / 1.55,
            OPENVINO: of / 1.12,
        }
        return {name: StreamsAtOnce(100, 100 / value, [0.1, 0.1]) for name, value in per_s.items()}

    def arrivals(gap: float) -> dict[str, ArrivedPrompt]:
        of_peers = {name: ArrivedPrompt(1.0, 1.0, 0.1) for name in (Q4_0, Q4_0_SMALL, Q4_1)}
        ours = ArrivedPrompt(0.59 / factor, gap / factor, 0.125)
        return of_peers | {OPENVINO: ArrivedPrompt(0.8, 1.0, 0.1), OURS: ours}

    alone = speeds(100 / factor, 100, 95 / factor**2)
    first_s = 0.1 + 0.007 / factor**2
    alone[OURS] = StreamsAtOnce(100, 100 / (100 / factor**0.5), [first_s])
    return GenerationRound(alone, speeds(210 * factor, 214, 198), arrivals(0.49), arrivals(0.49))


@pytest.mark.parametrize(("factor", "met"), [(1.0, True), (0.9, False)])
def test_each_figure_has_its_goal(factor: float, met: bool) -> None:
    measured = GenerationMeasurements([a_round(factor)] * 3, [300.0])
    figures = [figure for figure in generation_figures(measured) if figure.goal]
    assert len(figures) == 11
    assert [figure.what for figure in figures if figure.met != met] == []
    assert figures[0].median == pytest.approx(210 * factor / 198)


def test_absent_peers_leave_their_figures_out() -> None:
    whole = a_round(1.0)
    ours = {name: value for name, value in whole.together.items() if name in (OURS, ENGINE)}
    late = {OURS: whole.late[OURS]}
    round_ = GenerationRound(ours, ours, late, late)
    figures = generation_figures(GenerationMeasurements([round_], [300.0]))
    assert [figure.name for figure in figures] == ["long", "speed", "Kafka", "Kafka", "memory"]
    assert [row.system for row in generation_speeds([round_])] == [OURS, ENGINE]


def test_shared_beginnings_several_workers_and_exact_texts_have_goals() -> None:
    def turns(factor: float) -> dict[str, StreamsAtOnce]:
        return {
            KEEPING: StreamsAtOnce(100, 1.0, [0.1]),
            PLAIN: StreamsAtOnce(100, 1.9 * factor, [0.5]),
        }

    for factor, met in ((1.0, True), (0.9, False)):
        (prefix,) = prefix_figures(PrefixMeasurements([turns(factor)] * 2, 161, [180, 270]))
        two, four = scaling_figures([{"1-worker": 10.0, "2-workers": 20 * factor, "4-workers": 39 * factor}])
        same, other = exact_figures(ExactMeasurements(200, 0, 0 if met else 1))
        assert [prefix.met, two.met, four.met, same.met, other.met] == [met, met, met, True, met]


def test_the_steady_rate_leaves_the_start_and_the_end_of_the_tokens_out() -> None:
    streams = [[0.0, *(10 + number / 100 for number in range(98)), 50.0]]
    assert steady_per_s(streams) == pytest.approx(100)


def test_a_prompt_behind_another_begins_with_its_tokens(tiny: Manifest) -> None:
    prompts = BenchPrompts(tiny)
    shared = prompts.of_length(30)
    one, other = (prompts.behind(shared, 8, number) for number in (1, 2))
    assert one.tokens[:29] == other.tokens[:29] == shared.tokens[:29]
    assert one.text != other.text


def test_a_decoder_that_sleeps_ends_a_text_at_its_limit() -> None:
    row = GeneratedRow([5, 6, 7] * 30, 3)
    decoder = SleepingDecoder(200)
    results: list[Any] = []
    while not results or isinstance(results[-1], More):
        results += decoder.step([row])
    assert results[-1].output == Generation([7, 7, 7], ended=False)
    assert len(results) == 4  # two chunks of the prompt, and two further tokens
