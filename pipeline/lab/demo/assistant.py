"""The demo of an assistant: conversations side by side, a worker that is killed meanwhile, and an audit at the end."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Final, NamedTuple

from msgspec import Struct, field

from ....schemas.generation import ChatMessage
from ...client.client import Client
from ...errors import InferstreamError
from ...ops.audit.auditor import audit
from ...ops.audit.facts import Audited
from ...ops.audit.report import AuditReport
from ...ops.scan import end_offsets
from .assistant_figures import AssistantFigures
from .batches import RanBatches, watch
from .conversations import SYSTEM
from .shown_conversations import ShownConversation, ShownTurn
from .sites import DemoSite
from .worker_kill import WorkerKill

STAGGER_S: Final = 0.3
"""One conversation begins so long after the one before it."""
TYPING_S: Final = 1.0
"""From an answer to the next question."""
TIMEOUT_S: Final = 180.0
KILL_AT: Final = 0.2
"""The share of the most tokens that there can be, at which a worker is killed. Many answers end early."""

Observe = Callable[[ShownConversation, ShownTurn], None]
"""Called with a conversation and its turn when that has changed."""


class AssistantRun(Struct):
    """A run of the demo until now. ``name`` begins the ids of its requests."""

    name: str
    conversations: Sequence[ShownConversation]
    max_tokens: int
    batches: RanBatches = field(default_factory=RanBatches)
    kill: WorkerKill | None = None
    began: float = field(default_factory=time.perf_counter)

    @property
    def questions(self) -> int:
        return sum(len(one.talk.questions) for one in self.conversations)

    def figures(self) -> AssistantFigures:
        turns = [turn for one in self.conversations for turn in one.turns]
        return AssistantFigures.of(turns, self.began)


class AssistantResult(NamedTuple):
    """What was shown, its figures, and what the topics say."""

    run: AssistantRun
    figures: AssistantFigures
    audit: AuditReport

    @property
    def killed(self) -> bool:
        """Whether a worker was killed."""
        return self.run.kill is not None and self.run.kill.number is not None

    @property
    def clean(self) -> bool:
        """Whether each question has its answer, and each request has ended, in order.

        An end may be repeated, with the same content, where the worker was killed before it committed: readers pass
        over it.
        """
        report = self.audit
        answered = sum(one.answered for one in self.run.conversations)
        repeated = report.contradictory if self.killed else report.repeated
        return answered == self.run.questions and not (report.unended or report.lost or repeated)


async def converse(site: DemoSite, audited: Audited, run: AssistantRun, observe: Observe) -> AssistantResult:
    """Have all conversations side by side, each once. If the site has workers, one of them is killed meanwhile.

    Raises BrokerError.
    """
    audited = audited._replace(id_prefix=f"{run.name}-")
    starts = await end_offsets(site.broker, audited.names)
    async with AsyncExitStack() as stack:
        replies = await site.broker.consume([audited.topics.replies], start="latest")
        stack.push_async_callback(replies.close)
        beside = [asyncio.create_task(watch(replies, f"{run.name}-", run.batches))]
        stack.push_async_callback(_end, beside)
        if len(site.workers) > 1:
            run.kill = WorkerKill(site.workers, round(KILL_AT * run.max_tokens * run.questions))
            beside.append(asyncio.create_task(run.kill.run()))
        run.began = time.perf_counter()
        async with asyncio.TaskGroup() as talking:
            for one in run.conversations:
                talking.create_task(_talk(site.client, one, run, observe))
    report = await audit(site.broker, audited, starts=starts, clock=time.time)
    return AssistantResult(run, run.figures(), report)


async def _end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


async def _talk(client: Client, shown: ShownConversation, run: AssistantRun, observe: Observe) -> None:
    """Ask all questions. The first one without an answer ends the conversation."""
    await asyncio.sleep(shown.number * STAGGER_S)
    messages = [ChatMessage("system", SYSTEM)]
    for question in shown.talk.questions:
        messages.append(ChatMessage("user", question))
        turn = ShownTurn(question, time.perf_counter())
        shown.turns.append(turn)
        try:
            await _answer(client, messages, shown, run, observe)
        except InferstreamError as error:
            turn.error = str(error)
        observe(shown, turn)
        if turn.error:
            return
        messages.append(ChatMessage("assistant", turn.text))
        if not shown.ended:
            await asyncio.sleep(TYPING_S)


async def _answer(
    client: Client,
    messages: Sequence[ChatMessage],
    shown: ShownConversation,
    run: AssistantRun,
    observe: Observe,
) -> None:
    turn = shown.turns[-1]
    name = f"{run.name}-{shown.number}"
    async with client.chat(
        messages,
        conversation=name,
        id=f"{name}-{len(shown.turns)}",
        options={"max_tokens": run.max_tokens, "too_long": "window"},
        # One tenant for all, who share what was read; none of an earlier run, whose cached answers must not come.
        tenant=run.name,
        timeout_s=TIMEOUT_S,
    ) as stream:
        async for token in stream:
            turn.add(token.text, time.perf_counter())
            observe(shown, turn)
            if run.kill is not None:
                run.kill.told(run.figures().tokens)
        answer = await stream.answer()
    if turn.text != answer.output.text:
        raise InferstreamError("The tokens that were shown are not the text of the answer.")
    turn.usage = answer.output.usage
