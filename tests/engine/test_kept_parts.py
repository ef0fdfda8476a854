"""What the engine tells a model that keeps parts of its rows, and what it learns from rows that were there in part."""

from collections.abc import Sequence
from typing import Any

import pytest
from support.steps_rig import a_steps_rig, text_of

from inferstream.pipeline.engine.cost import Cost, CostSample
from inferstream.pipeline.lab.steps import START
from inferstream.pipeline.runtime.model import Row


async def test_a_row_knows_its_tenant_and_what_it_skipped_was_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples: list[CostSample] = []
    tenants: list[str] = []
    async with a_steps_rig(cached=False) as rig:
        step = rig.model.step

        def skipping(rows: Sequence[Row]) -> Sequence[Any]:
            for row in rows:
                tenants.append(row.tenant)
                row.skipped = row.length if row.phase == START else 0
            return step(rows)

        def learn(cost: Cost, sample: CostSample) -> None:
            samples.append(sample)

        monkeypatch.setattr(rig.model, "step", skipping)
        monkeypatch.setattr(Cost, "observe", learn)
        batches: list[int] = []
        rig.device.on_batch = lambda stats: batches.append(stats.tokens)
        assert text_of(await rig.ask("hello", tenant="acme")) == "hello"
        assert text_of(await rig.ask("hi")) == "hi"
    assert tenants == ["acme"] * 6 + [""] * 3
    assert [sample.length for sample in samples] == batches == [1] * 9, "a step computes something"
