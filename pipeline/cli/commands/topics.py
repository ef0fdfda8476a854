"""`inferstream topics`: make the topics that a task needs, and see what is there."""

import asyncio
import re
from typing import Any, Final

import click

from ....schemas.topics import Topics
from ...broker.base import Broker, TopicSpec
from ...broker.kafka.broker import KafkaBroker
from ...config import Config, KafkaConfig, RetryConfig
from ...errors import UsageError
from ..options.settings import ADDRESS, KAFKA, TOPICS, setting, with_settings
from ..output.tables import print_table

COLUMNS: Final = {"topic": "TOPIC", "partitions": "PARTITIONS", "state": "STATE", "purpose": "PURPOSE"}
PURPOSES: Final = {
    "requests": "what producers send; workers share its partitions",
    "replies": "answers to requests that name no reply topic",
    "dead_letters": "requests that could not be answered where they wanted it, with the reason",
}
UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Duration(click.ParamType):
    """A number and a unit, as milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", str(value))
        if not found:
            self.fail(f"{value!r} is no duration: write a number and a unit, as in 7d, 12h, 30m.", param, ctx)
        return int(found[1]) * UNITS_MS[found[2]]


RETENTION: Final = setting(
    "kafka.retention_ms",
    "--retention",
    type=Duration(),
    help="How long records of topics that do not exist yet are kept: 7d, 12h, 30m.  [default: 7d]",
)


@click.command("topics")
@click.argument("task")
@with_settings(ADDRESS, KAFKA, TOPICS, (RETENTION,), kafka=False)
@click.option("--list", "list_only", is_flag=True, help="Make none, only say what there is.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(task: str, config: Config, list_only: bool, as_json: bool) -> None:
    """Make the topics that TASK needs where they are missing, and list them.

    Workers do the same when they start. Use this where they may not, or to have other numbers of partitions first:
    there can be at most as many busy workers as partitions, and adding some later moves keys to other partitions.

    \b
      inferstream topics triage --kafka 127.0.0.1:9092 --partitions 12 --replication 3
    """
    from ...serving.build import TASKS, topic_specs

    if task not in TASKS:
        raise UsageError(f"There is no task {task!r}; there is: {', '.join(TASKS)}.")
    topics = Topics(task, config.kafka.topic_prefix)
    specs = [] if list_only else topic_specs(topics, config.kafka, config.retries)
    print_table(
        asyncio.run(_made(_names(topics, config.retries), specs, config.kafka)), COLUMNS, as_json=as_json
    )


async def _made(names: dict[str, str], specs: list[TopicSpec], kafka: KafkaConfig) -> list[dict[str, object]]:
    """Make the topics of ``specs``, then a row for each topic of the task, by its name and purpose."""
    async with KafkaBroker(kafka) as broker:
        before = {name: await broker.partitions(name) for name in names}
        await broker.ensure_topics(specs)
        return [await _row(broker, name, purpose, before[name]) for name, purpose in names.items()]


async def _row(broker: Broker, name: str, purpose: str, before: int | None) -> dict[str, object]:
    partitions = await broker.partitions(name)
    state = "missing" if partitions is None else "made" if before is None else "there"
    return {"topic": name, "partitions": partitions, "state": state, "purpose": purpose}


def _names(topics: Topics, retries: RetryConfig) -> dict[str, str]:
    """All topics of the task, and what each is for."""
    from ...delivery.retries import tier_name

    waiting = {topics.retry(tier_name(seconds)): seconds for seconds in sorted(set(retries.tiers_s))}
    named = {getattr(topics, kind): purpose for kind, purpose in PURPOSES.items()}
    return named | {
        name: f"requests that failed for a passing reason wait here for {seconds} s"
        for name, seconds in waiting.items()
    }
