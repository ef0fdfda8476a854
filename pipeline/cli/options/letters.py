"""Options of the dead-letter commands: the broker, and the selection of letters."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from ....schemas.topics import Topics
from ...broker.base import Broker, TopicSpec
from ...config import Config
from ...ops.dead_letters.letter import Selection, parse_position
from .broker import embedded_option, open_broker
from .settings import KAFKA, with_settings
from .times import Timestamp

Function = Callable[..., Any]


class LetterSource:
    """The topics and the broker of one task's letters."""

    def __init__(self, task: str, config: Config, kafka: str | None, embedded: Path | None) -> None:
        self.topics = Topics(task, config.kafka.topic_prefix)
        self._config = config
        self._kafka = kafka
        self._embedded = embedded

    def broker(self) -> Broker:
        """A broker that is not connected yet."""
        return open_broker(self._config, self._kafka, self._embedded)

    @property
    def marks(self) -> TopicSpec:
        """The topic of marks. One partition: marks are few and small."""
        kafka = self._config.kafka
        return TopicSpec(self.topics.dead_letters_handled, 1, kafka.replication, kafka.retention_ms)


def with_letter_source(function: Function) -> Function:
    """Add the options of the broker to a command. Its function gets a LetterSource."""

    @functools.wraps(function)
    def command(config: Config, kafka: str | None, embedded: Path | None, **options: Any) -> Any:
        task: str = click.get_current_context().obj
        return function(LetterSource(task, config, kafka, embedded), **options)

    return with_settings(KAFKA)(embedded_option(command))


SELECTION_OPTIONS: Final = (
    click.option("--code", multiple=True, help="Only letters with this error code. May be repeated."),
    click.option(
        "--since",
        type=Timestamp(),
        help="Only letters that failed from this time on: 2026-03-01T14:00, or 12h for 12 hours ago.",
    ),
    click.option("--until", type=Timestamp(), help="Only letters that failed before this time."),
    click.option("--key", help="Only letters with this record key."),
    click.option("--tenant", help="Only letters of this tenant."),
    click.option("--id", "identity", help="Only letters of the request with this id."),
)


def with_selection(function: Function) -> Function:
    """Add the options that select letters to a command. Its function gets a Selection."""

    @functools.wraps(function)
    def command(
        source: LetterSource,
        code: tuple[str, ...],
        since: int | None,
        until: int | None,
        key: str | None,
        tenant: str | None,
        identity: str | None,
        letters: tuple[str, ...] = (),
        **options: Any,
    ) -> Any:
        positions = frozenset(map(parse_position, letters))
        return function(source, Selection(code, since, until, key, tenant, identity, positions), **options)

    for option in reversed(SELECTION_OPTIONS):
        option(command)
    return command
