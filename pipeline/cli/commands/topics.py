"""`inferstream topics`: create and list the topics of a task."""

import asyncio
from typing import Final

import click

from ....schemas.topics import Topics
from ...broker.base import Broker, TopicSpec
from ...broker.kafka.broker import KafkaBroker
from ...config import Config, KafkaConfig, RetryConfig
from ...tasks.catalogue import tasks
from ...tasks.chains.chain import Chain, steps_of
from ...tasks.chains.declared import chains_of
from ..options.settings import ADDRESS, KAFKA, TOPICS, setting, with_settings
from ..options.times import Duration
from ..output.tables import print_table

COLUMNS: Final = {"topic": "TOPIC", "partitions": "PARTITIONS", "state": "STATE", "purpose": "PURPOSE"}
PURPOSES: Final = {
    "requests": "requests of producers; workers share its partitions",
    "replies": "replies to requests that name no other reply topic",
    "cancels": "what clients do not want any more, and their heartbeats",
    "dead_letters": "requests that could not be answered, with the reason",
    "labels": "right answers that became known later, to judge candidates by",
    "members": "which models the workers of the group have",
}
RETENTION: Final = setting(
    "kafka.retention_ms",
    "--retention",
    type=Duration(),
    help="Retention of new topics, as 7d, 12h or 30m. Existing topics keep theirs.  [default: 7d]",
)


@click.command("topics")
@click.argument("task")
@with_settings(ADDRESS, KAFKA, TOPICS, (RETENTION,), kafka=False)
@click.option("--list", "list_only", is_flag=True, help="Only list the topics; create none.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(task: str, config: Config, list_only: bool, as_json: bool) -> None:
    """Create the missing topics of TASK, or of a chain in the settings, and list all its topics.

    Workers create missing topics at start. Use this command if workers have no right to create topics, or
    to choose the number of partitions first. Only as many workers as partitions can be busy, and partitions
    that are added later move keys to other partitions.

    \b
      inferstream topics triage --kafka 127.0.0.1:9092 --partitions 12 --replication 3
      inferstream topics triage --list
    """
    from ...serving.topics import chain_specs, labels_spec, members_spec, topic_specs

    chain = chains_of(config).get(task)
    if chain is None:
        tasks().find(task)
        topics = Topics(task, config.kafka.topic_prefix)
        names = _names(topics, config.retries)
        specs = [
            *topic_specs(topics, config.kafka, config.retries),
            labels_spec(topics, config.kafka),
            members_spec(topics, config.kafka),
        ]
    else:
        names = _names_of_steps(chain, config)
        of_steps = steps_of(chain, config.kafka.topic_prefix)
        specs = [*chain_specs(chain, config), *(members_spec(step.topics, config.kafka) for step in of_steps)]
    made = [] if list_only else specs
    print_table(asyncio.run(_create(names, made, config.kafka)), COLUMNS, as_json=as_json)


async def _create(
    names: dict[str, str], specs: list[TopicSpec], kafka: KafkaConfig
) -> list[dict[str, object]]:
    """Create the topics of ``specs``, then return a row for each topic in ``names`` (name to purpose)."""
    async with KafkaBroker(kafka) as broker:
        before = {name: await broker.partitions(name) for name in names}
        await broker.ensure_topics(specs)
        there = [name for name, partitions in before.items() if partitions is not None]
        if not specs:  # otherwise they are logged
            for fault in await broker.faults([name for name in there if names[name] != PURPOSES["members"]]):
                click.echo(fault, err=True)
        return [await _row(broker, name, purpose, before[name]) for name, purpose in names.items()]


async def _row(broker: Broker, name: str, purpose: str, before: int | None) -> dict[str, object]:
    partitions = await broker.partitions(name)
    state = "missing" if partitions is None else "made" if before is None else "there"
    return {"topic": name, "partitions": partitions, "state": state, "purpose": purpose}


def _names(topics: Topics, retries: RetryConfig) -> dict[str, str]:
    """All topics of the task: name to purpose."""
    from ...delivery.retries import tier_name

    names = {getattr(topics, kind): purpose for kind, purpose in PURPOSES.items()}
    for seconds in sorted(set(retries.tiers_s)):
        names[topics.retry(tier_name(seconds))] = (
            f"requests that failed with a temporary error; retried after {seconds} s"
        )
    return names


def _names_of_steps(chain: Chain, config: Config) -> dict[str, str]:
    """All topics of a chain: those of its first step, then the requests and retries of each later one."""
    names: dict[str, str] = {}
    for step in steps_of(chain, config.kafka.topic_prefix):
        of_step = _names(step.topics, config.retries)
        del of_step[step.topics.labels]  # those of a task
        if names:
            of_step[step.topics.requests] = f"requests of step {step.topics.step}, {step.declared.name}"
        names |= {name: purpose for name, purpose in of_step.items() if name not in names}
    return names
