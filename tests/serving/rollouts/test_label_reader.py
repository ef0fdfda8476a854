"""Labels that were sent since the rollout began are judged on the answers of both versions."""

import asyncio
from datetime import UTC, datetime

from support.trial_rig import DIFFERS, a_trial_rig, until

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.serving.rollouts.label_reader import LabelReader
from inferstream.pipeline.serving.rollouts.watcher import RolloutWatcher
from inferstream.schemas.messages import Request

SPEC = TopicSpec("inferstream.echo.labels", 2)


async def test_labels_are_read_while_a_candidate_is_on_trial() -> None:
    async with a_trial_rig() as rig, EmbeddedBroker() as broker:
        await broker.ensure_topics([SPEC])
        await broker.publish(Message(SPEC.name, b'{"text": "old", "label": {"echo": "?"}}'))
        await asyncio.sleep(0.01)
        began = datetime.now(UTC).isoformat()
        rig.trial.name = rig.trial.name._replace(began_at=began)
        await asyncio.sleep(0.01)
        labels = [
            b'{"text": "a", "label": {"echo": "a"}}',
            b'{"text": "%s", "label": {"echo": "%s"}}' % (DIFFERS.encode(), DIFFERS.encode()),
            b'{"text": "b"}',
            b"no label",
            b'{"text": "c", "label": {}}',
            b'{"label": {"echo": "c"}}',
            b'{"text": "d", "label": {"echo": "e"}}',
        ]
        for label in labels:
            await broker.publish(Message(SPEC.name, label))

        def never() -> None:
            raise AssertionError

        watcher = RolloutWatcher(rig.engine, "echo", never, "w1")  # type: ignore[arg-type]
        reader = LabelReader(broker, SPEC, "echo.labels", Request, watcher, rig.trials.comparisons)
        reading = asyncio.create_task(reader.run())
        await until(lambda: rig.trial.figures.labeled == 3)
        figures = rig.trial.figures
        assert (figures.both_right, figures.stable_right, figures.both_wrong) == (1, 1, 1)
        reading.cancel()
        await asyncio.wait([reading])
