"""Runs the plan of a recipe. A step that was carried out before with the same inputs is not carried out again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from ...models.progress import Progress
from ...models.registry import ModelRegistry
from ..machine.machine import Machine, versions
from .costs import Costs, Expectation
from .making import MadeByStep, Making, StepPlace
from .presence import is_here
from .rows import RecipeRows
from .store import StepRecord, StepStore, key_of


class PlannedStep(NamedTuple):
    """A step of the plan, before the run."""

    making: Making
    kept: bool  # from an earlier run
    expected: Expectation


class DoneStep(NamedTuple):
    """A step that was carried out, now or before."""

    record: StepRecord
    kept: bool  # from an earlier run


class Watch(Protocol):
    """Shows the run."""

    def begin(self, making: Making) -> Progress: ...
    def end(self, carried: DoneStep) -> None: ...


class RecipeRun:
    """The run of a plan in one home folder. Two runs of one recipe do not carry out a step at the same time."""

    def __init__(
        self, registry: ModelRegistry, plan: Sequence[Making], rows: RecipeRows, machine: Machine
    ) -> None:
        self._plan = plan
        self._store = StepStore(registry.root.parent)
        self._machine = machine
        self._results: dict[str, MadeByStep] = {}
        self._place = StepPlace(registry, rows, self._results)

    def planned(self) -> list[PlannedStep]:
        """The steps with what they are expected to take; nothing is carried out."""
        costs = Costs(self._store.all(), self._machine.name)
        found = []
        for making in self._plan:
            known = all(name in self._results for name in making.needs)
            readable = self._place.rows.named or not making.reads_rows
            record = self._found(making) if known and readable else None
            if record:
                self._results[making.name] = record.result
            expected = (
                Expectation(0.0, "kept from an earlier run")
                if record
                else costs.expected(making, self._place)
            )
            found.append(PlannedStep(making, record is not None, expected))
        self._results.clear()
        return found

    def run(self, watch: Watch) -> list[DoneStep]:
        """Carry out the plan. A run that was killed is continued with the step that it was killed in."""
        self._results.clear()
        if any(making.reads_rows for making in self._plan):
            self._place.rows.read()  # a mistake in a file is told before the work
        done = []
        for making in self._plan:
            carried = self._carry_out(making, watch.begin(making))
            self._results[making.name] = carried.record.result
            watch.end(carried)
            done.append(carried)
        return done

    def _carry_out(self, making: Making, progress: Progress) -> DoneStep:
        if record := self._found(making):  # without the lock: a home may be read-only
            return DoneStep(record, kept=True)
        content = self._content(making)
        key = key_of(content)
        with self._store.lock(key, progress):
            if record := self._found(making):
                return DoneStep(record, kept=True)
            reference_s = making.reference_s(self._place)
            begun = perf_counter()
            result = making.make(self._place, progress)
            record = StepRecord(
                key=key,
                **content,
                result=result,
                seconds=perf_counter() - begun,
                reference_s=reference_s,
                machine=self._machine.name,
                made_at=datetime.now(UTC).isoformat(timespec="milliseconds"),  # steps are told in this order
                packages=versions(),
            )
            self._store.save(record)
        return DoneStep(record, kept=False)

    def _found(self, making: Making) -> StepRecord | None:
        """The record of an earlier run, if all that it made is still here."""
        record = self._store.find(key_of(self._content(making)))
        return record if record and is_here(record.result, self._place.registry) else None

    def _content(self, making: Making) -> dict[str, Any]:
        """All that decides the result of a step."""
        inputs: dict[str, str] = {}
        for need in making.needs:
            found = self._results[need]
            inputs |= found.models | found.heads
            if found.evaluations or found.gates:
                inputs[need] = key_of({"evaluations": found.evaluations, "gates": found.gates})
        return {
            "kind": making.kind,
            "name": making.name,
            "settings": making.settings,
            "inputs": inputs,
            "rows_sha256": self._place.rows.digest if making.reads_rows else "",
            "revision": making.revision,
        }
