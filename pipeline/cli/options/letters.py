"""Options of the commands that deal with dead letters: where the letters are, and which are meant."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from ....schemas.topics import Topics
from ...broker.base import Broker, TopicSpec
from ...config import Config
from ...ops.dead_letters.letter import Selection, place_named
from .broker import embedded_option, open_broker
from .settings import KAFKA, with_settings
from .times import Timestamp

Function = Callable[..., Any]


class Place:
    """Where the letters of one task are."""

    def __init__(self, task: str, config: Config, kafka: str | None, embedded: Path | None) -> None:
        self.topics = Topics(task, config.kafka.topic_prefix)
        self._config, self._kafka, self._embedded = config, kafka, embedded

    def broker(self) -> Broker:
        """Not connected yet."""
        return open_broker(self._config, self._kafka, self._embedded)

    @property
    def marks(self) -> TopicSpec:
        """The topic of marks as it must be: they are few and small."""
        kafka = self._config.kafka
        return TopicSpec(self.topics.dead_letters_handled, 1, kafka.replication, kafka.retention_ms)


def with_place(function: Function) -> Function:
    """Give a command the options that say where the letters are, and its function a Place."""

    @functools.wraps(function)
    def command(config: Config, kafka: str | None, embedded: Path | None, **options: Any) -> Any:
        task: str = click.get_current_context().obj
        return function(Place(task, config, kafka, embedded), **options)

    return with_settings(KAFKA)(embedded_option(command))


SELECTING: Final = (
    click.option("--code", multiple=True, help="Only letters with this error code. May be repeated."),
    click.option(
        "--since",
        type=Timestamp(),
        help="Only what failed from then on: 2026-03-01T14:00, or 12h ago as 12h.",
    ),
    click.option("--until", type=Timestamp(), help="Only what failed before then."),
    click.option("--key", help="Only letters with this record key."),
    click.option("--tenant", help="Only letters of this tenant."),
    click.option("--id", "identity", help="Only the letters of the request with this id."),
)


def with_selection(function: Function) -> Function:
    """Give a command the options that choose letters, and its function a Selection."""

    @functools.wraps(function)
    def command(
        place: Place,
        code: tuple[str, ...],
        since: int | None,
        until: int | None,
        key: str | None,
        tenant: str | None,
        identity: str | None,
        letters: tuple[str, ...] = (),
        **options: Any,
    ) -> Any:
        places = frozenset(map(place_named, letters))
        return function(place, Selection(code, since, until, key, tenant, identity, places), **options)

    for option in reversed(SELECTING):
        option(command)
    return command
