"""Callers that have one conversation after the other, for the length of a run."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count, cycle
from typing import Any, Final, NamedTuple

from ....schemas.generation import GenerateOutput, Token
from ...client.generation.calls import GenerateCalls
from ...client.stream import TORN, Stream
from ...errors import InferstreamError
from .conversation_log import ID_PREFIX, ConversationLog
from .equal_answers import EqualAnswers, Made, asked
from .scripts import SYSTEM, CallScript, Messages, scripts

HOW: Final = {"reads": 0.55, "reads slowly": 0.15, "leaves": 0.15, "asks twice": 0.15}
"""What callers do in a turn, and how often. In the calm all of them read."""

LONG: Final = 240
"""Tokens of an answer that is left."""

LEAVES_AFTER: Final = (1, 30)
"""Tokens that are shown before a stream is left."""

SLOW_EVERY: Final = 5
SLOW_S: Final = 0.2


class Pauses(NamedTuple):
    """How long callers wait, in seconds."""

    between_s: tuple[float, float] = (0.2, 1.0)
    timeout_s: float = 90.0
    """Of an answer; one without any end after twice the time is lost."""


PAUSES: Final = Pauses()


class Turn(NamedTuple):
    """One question of a conversation, with all that was said before."""

    conversation: str
    messages: Messages
    options: dict[str, Any]
    how: str
    leaves_after: int = 0


class ConversationLoad:
    """Lets some callers talk at the same time. Counts what they see in the log."""

    def __init__(
        self,
        client: GenerateCalls,
        log: ConversationLog,
        now_s: Callable[[], float],
        seed: int,
        calm_s: float,
        pauses: Pauses = PAUSES,
    ) -> None:
        self._client = client
        self._log = log
        self._now_s = now_s
        self._seed = seed
        self._calm_s = calm_s
        self._pauses = pauses
        self._scripts = cycle(scripts(seed))
        self._answers = EqualAnswers()

    async def send(self, callers: int, over: Callable[[], bool]) -> None:
        """Talk until it is over, then wait for the last answers."""
        async with asyncio.TaskGroup() as tasks:
            for caller in range(callers):
                tasks.create_task(self._caller(caller, over))
        self._log.counts.compared = self._answers.compared
        self._log.counts.unequal = self._answers.unequal
        self._log.counts.examples = self._answers.examples

    async def _caller(self, caller: int, over: Callable[[], bool]) -> None:
        rng = random.Random(f"{self._seed}/callers/{caller}")
        for number in count():
            if over():
                return
            await self._conversation(f"{ID_PREFIX}{caller}-{number}", next(self._scripts), rng, over)

    async def _conversation(
        self, name: str, script: CallScript, rng: random.Random, over: Callable[[], bool]
    ) -> None:
        """All turns of a script; it ends early when an answer was left, or did not come."""
        messages: Messages = [{"role": "system", "content": SYSTEM}]
        for number, question in enumerate(script.questions):
            if over():
                return
            messages = [*messages, {"role": "user", "content": question}]
            how = rng.choices(list(HOW), list(HOW.values()))[0]
            if self._now_s() < self._calm_s:
                how = "reads"
            turn = Turn(name, messages, script.options, how)
            if how == "leaves":
                long = script.options | {"max_tokens": LONG}
                turn = turn._replace(options=long, leaves_after=rng.randint(*LEAVES_AFTER))
            identity = f"{name}/{number}"
            # An impatient caller does not wait for the first answer.
            again = (f"{identity}/again",) if how == "asks twice" else ()
            answers = await self._answers_to(turn, (identity, *again))
            if None in answers:
                return
            messages = [*messages, {"role": "assistant", "content": str(answers[0])}]
            await asyncio.sleep(rng.uniform(*self._pauses.between_s))

    async def _answers_to(self, turn: Turn, identities: Sequence[str]) -> list[str | None]:
        """The text of each answer that was read; None where there is none, or it was left."""
        async with AsyncExitStack() as stack:
            streams = []
            for identity in identities:  # one after the other: their order counts
                self._log.asked(identity, turn.conversation)
                self._log.counts.turns += 1
                stream = self._client.chat(
                    turn.messages,
                    conversation=turn.conversation,
                    options=turn.options,
                    id=identity,
                    timeout_s=self._pauses.timeout_s,
                )
                try:
                    streams.append(await stack.enter_async_context(stream))
                except InferstreamError as error:
                    self._log.counts.failed[error.code] += 1
                    return [None]
            return await asyncio.gather(*(self._read(turn, stream) for stream in streams))

    async def _read(self, turn: Turn, stream: Stream[Token, GenerateOutput]) -> str | None:
        counts = self._log.counts
        at_s = self._now_s()
        question = asked(turn.messages, turn.options)
        shown: list[Token] = []
        try:
            async with asyncio.timeout(2 * self._pauses.timeout_s):
                async for token in stream:
                    if not shown:
                        counts.firsts.append((at_s, self._now_s() - at_s))
                    shown.append(token)
                    if len(shown) == turn.leaves_after:
                        self._log.left(stream.id, turn.how)
                        return None
                    if turn.how == "reads slowly" and len(shown) % SLOW_EVERY == 0:
                        await asyncio.sleep(SLOW_S)
                output = (await stream.answer()).output
        except TimeoutError:
            counts.lost += 1
            return None
        except InferstreamError as error:
            if str(error) == TORN:
                counts.torn += 1
            else:
                counts.failed[error.code] += 1
            return None
        finally:
            if shown:
                self._answers.add(question, Made([token.token for token in shown], id=stream.id))
        self._answers.add(question, Made.of(output, turn.options["max_tokens"], stream.id))
        counts.ended(shown, output)
        return output.text
