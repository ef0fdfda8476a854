"""A decoder that generates text: prompts in chunks, then one token a step for rows of any ages."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DeviceError, DeviceOutOfMemory
from .bound_steps import BoundSteps, RowWindow
from .generated_row import DECODE, PREFILL, GeneratedRow
from .key_values import KeyValueMaker
from .memory_left import check_memory
from .model import Measure, More, Row
from .prefixes import Keeping, PrefixMemory, RowPlace
from .row_memory import HeldRow, RowMemory
from .sessions import Session
from .steady_rows import is_steady_alone
from .warm_steps import run_once, warm_steps

FEWEST = 2
"""Rows in a step; and a chunk has a multiple of it. A product with one row has another order of additions on some
CPUs, and an attention takes queries in blocks of an even size whose last one may have one (decision 25)."""


class GeneratorSize(NamedTuple):
    """What is fixed at the start: ``rows`` of ``context`` tokens for each lane, prompt and answer together."""

    lanes: int = 1
    rows: int = 8
    context: int = 2048


class _Lane(NamedTuple):
    memory: RowMemory
    steps: BoundSteps


class _Chunk(NamedTuple):
    """A chunk that was read: where it begins in the prompt, its number of tokens, and the one that would follow."""

    first: int
    length: int
    follower: int


class Generator:
    """The `Model` of a decoder's graph; see `graphs/llama/decoder`. Its rows are `GeneratedRow`.

    What shares a step with a row, and how its prompt is cut into chunks, changes no bit of its text. A row stays in
    the memory of the lane, which is the thread, that took its first step. What was read of a prompt is kept for
    others that begin the same, on all lanes; that changes no bit either.
    """

    phases: Sequence[str] = (PREFILL, DECODE)
    most_rows: Mapping[str, int] = {PREFILL: 1}
    """Chunks are runs of their own (`GroupQueryAttention`): two in a step would only make others wait longer."""

    def __init__(
        self,
        session: Session,
        size: GeneratorSize = GeneratorSize(),  # noqa: B008
        keeping: Keeping = Keeping(),  # noqa: B008
    ) -> None:
        """Takes the key/value memory of all lanes at once. Raises UsageError if the device has not as much."""
        self.size = size._replace(context=min(size.context, int(session.metadata["context"])))
        self.words = int(session.output_shapes["scores"][1])
        self._maker = KeyValueMaker(session)
        self._check_memory(self.size.lanes, keeping.tokens)
        self._prefixes = PrefixMemory(keeping, self._maker)
        self._session = session
        self._fewest = self.size.rows if session.memory.apart else FEWEST
        self._lanes: list[_Lane] = []
        self._unused: list[_Lane] = []
        self._by_thread: dict[int, _Lane] = {}
        self._taking = threading.Lock()
        self.reserve(size.lanes)

    def reserve(self, lanes: int) -> None:
        """Take memory until this number of lanes has it."""
        self.size = self.size._replace(lanes=max(lanes, len(self._lanes)))
        self._check_memory(lanes - len(self._lanes))
        while len(self._lanes) < lanes:
            memory = RowMemory(self._maker.make(self.size.rows + 1, self.size.context + FEWEST))
            lane = _Lane(memory, BoundSteps(self._session, memory, self.size.context + FEWEST))
            self._lanes.append(lane)
            self._unused.append(lane)

    def _check_memory(self, lanes: int, kept: int = 0) -> None:
        """Raises UsageError if the host has no memory for ``lanes`` more lanes and ``kept`` tokens of prompts."""
        if not self._maker.on_host or lanes <= 0:
            return
        rows, context = self.size.rows, self.size.context
        of_lanes = lanes * self._maker.nbytes_of(rows + 1, context + FEWEST)
        check_memory(
            of_lanes + self._maker.nbytes_of(1, kept),
            f"Keys and values of {lanes} lanes with {rows} texts of {context} tokens"
            + (f", and of {kept} tokens of kept prompts," if kept else ""),
            "lower `rows`, `context` or `prefix_tokens` in [generate], or `lanes` in [engine]",
        )

    @property
    def rows(self) -> int:
        """How many rows the memory of a lane has."""
        return self.size.rows

    @property
    def memory_bytes(self) -> int:
        """Of keys and values."""
        return sum(lane.memory.key_values.nbytes for lane in self._lanes) + self._prefixes.nbytes

    def step(self, rows: Sequence[Row]) -> Sequence[Any]:
        """A chunk of each prompt, one run after the other; or a token of each row, in one run.

        For each row `More` with its new token, or the `Generation`. Raises DeviceError for a prompt that does not
        fit, DeviceOutOfMemory if no row of the memory is free, and as `Session.run`.
        """
        texts = [row for row in rows if isinstance(row, GeneratedRow)]
        if len(texts) < len(rows):
            raise DeviceError("Only rows of a generator can be run by it.")
        lane = self._lane_of(texts)
        if texts[0].phase == DECODE:
            return self._decode(lane, texts)
        return self._prefill(lane, texts)

    def leave(self) -> None:
        """See `HasMemory`. A lane that the thread of a trial kept would be missing in service."""
        with self._taking:
            lane = self._by_thread.pop(threading.get_ident(), None)
            if lane is not None:
                self._unused.append(lane)

    def drop(self, rows: Sequence[Row]) -> None:
        """Free the places of the rows in the memory."""
        for row in rows:
            held, row.state = row.state, None
            if held is not None:
                held.memory.free(held)

    def warm_up(self, measure: Measure = run_once) -> None:
        """Run the steps of all sizes: the first one binds, and takes memory. Call it before the first step.

        It finds out whether this CPU gives a row the same bits alone as beside another one.
        """
        if not self._session.memory.apart:
            steady = all(is_steady_alone(lane.memory, lane.steps, self.words) for lane in self._lanes)
            self._fewest = 1 if steady else FEWEST
        for lane in self._lanes:
            warm_steps(lane.memory, lane.steps, self.size.context, self._fewest, measure)

    def _lane_of(self, rows: Sequence[GeneratedRow]) -> _Lane:
        """The lane of this thread. Raises DeviceError for rows of another one."""
        thread = threading.get_ident()
        lane = self._by_thread.get(thread)
        if lane is None:
            with self._taking:
                if not self._unused:
                    raise DeviceError(
                        f"The model has memory for {self.size.lanes} lanes, and this is one more."
                    )
                lane = self._by_thread[thread] = self._unused.pop(0)
        if any(row.state is not None and row.state.memory is not lane.memory for row in rows):
            raise DeviceError("A row takes all its steps on one lane.")
        return lane

    def _prefill(self, lane: _Lane, rows: Sequence[GeneratedRow]) -> list[Any]:
        """A chunk of each row. The rows are changed when all chunks have been read."""
        taken: list[HeldRow] = []
        try:
            # All places first: taking one may move rows, of which those with a chunk are longer than they know yet.
            helds = [row.state or self._take(lane, taken) for row in rows]
            chunks = [self._read_chunk(lane, *pair) for pair in zip(rows, helds, strict=True)]
        except BaseException:
            for held in taken:
                lane.memory.free(held)
            raise
        return [self._after_chunk(*found) for found in zip(rows, helds, chunks, strict=True)]

    def _take(self, lane: _Lane, taken: list[HeldRow]) -> HeldRow:
        held = lane.memory.take()
        if held is None:
            raise DeviceOutOfMemory(f"All {self.size.rows} rows of the key/value memory are in use.")
        taken.append(held)
        return held

    def _read_chunk(self, lane: _Lane, row: GeneratedRow, held: HeldRow) -> _Chunk:
        """Read the next chunk behind what the row has read, or behind what is kept of its prompt by now.

        Rows with one beginning that are read at once, on any lanes, so share the work: each goes on from what the
        others have read. The row is not changed: a later row of this step may fail.
        """
        if not 0 < len(row.prompt) <= self.size.context:
            raise DeviceError(
                f"The prompt has {len(row.prompt)} tokens; it must have 1 to {self.size.context}, the context."
            )
        place = RowPlace(lane.memory.key_values, held.place)
        first = self._prefixes.copy_to(place, row.tenant, row.prompt, row.read)
        chunk = row.prompt[first : first + len(row.tokens)]
        count = len(chunk)
        # What fills the chunk up is overwritten by the next step.
        tokens = np.zeros(count + count % FEWEST, np.int64)
        tokens[:count] = chunk
        scored = row.asks_scores and first + count == len(row.prompt)
        window = RowWindow(held.place, 1, len(tokens), scored)
        result = lane.steps.run(window, tokens, [first + len(tokens) - 1], [count - 1] * FEWEST)
        follower = row.chosen(result.scores[0]) if scored else int(result.best[0])
        self._prefixes.keep(place, row.tenant, row.prompt, first + count)
        return _Chunk(first, count, follower)

    def _after_chunk(self, row: GeneratedRow, held: HeldRow, chunk: _Chunk) -> Any:
        row.state = held
        row.kept = chunk.first - row.read
        row.cached += row.kept
        row.skipped = row.length - chunk.length
        held.length = row.read = chunk.first + chunk.length
        if row.read < len(row.prompt):
            row.next_chunk()
            return More()
        return self._advanced(row, held, chunk.follower)

    def _decode(self, lane: _Lane, rows: Sequence[GeneratedRow]) -> list[Any]:
        """A token of each row, in one run over its place and those of the others."""
        memory = lane.memory
        helds = [row.state for row in rows]
        window = memory.window(helds, self._fewest)
        count = len(window)
        places = [held.place - window.start for held in helds]
        tokens = np.zeros(count, np.int64)
        tokens[places] = [row.tokens[0] for row in rows]
        # A neighbor that only makes the step larger gets keys behind its last token; its next step overwrites them.
        last = [memory.length_at(place) for place in window]
        scored = any(row.asks_scores for row in rows)
        result = lane.steps.run(RowWindow(window.start, count, 1, scored), tokens, last, list(range(count)))
        chosen = [
            row.chosen(result.scores[place]) if row.asks_scores else int(result.best[place])
            for row, place in zip(rows, places, strict=True)
        ]
        for row, held in zip(rows, helds, strict=True):
            held.length += 1
            row.skipped = 0
            row.kept = 0
        return [self._advanced(*found) for found in zip(rows, helds, chosen, strict=True)]

    def _advanced(self, row: GeneratedRow, held: HeldRow, token: int) -> Any:
        """The result of a step that gave ``token``; the row becomes what its next step needs."""
        result = row.take(token, room=self.size.context - held.length)
        if not isinstance(result, More):
            row.state = None
            held.memory.free(held)
        return result
