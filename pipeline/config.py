"""The settings, each with the values that it may have. `settings` reads and checks them."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from .errors import UsageError

NEW_PARTITIONS: Final = 4
"""Partitions of new topics if the settings give no number."""

MAX_REQUEST_TOKENS: Final = 65_536

MAX_INT: Final = 2**31 - 1
Count = Annotated[int, Meta(ge=1, le=MAX_INT, description=f"a whole number from 1 to {MAX_INT}")]
Partitions = Annotated[int, Meta(ge=1, le=100_000, description="a whole number from 1 to 100000")]
LaneCount = Annotated[int, Meta(ge=1, le=1_024, description="a whole number from 1 to 1024")]
Milliseconds = Annotated[
    int, Meta(ge=1, le=MAX_INT, description=f"a whole number of milliseconds from 1 to {MAX_INT}")
]
MillisecondsOrNone = Annotated[
    int, Meta(ge=0, le=MAX_INT, description=f"a whole number of milliseconds from 0 to {MAX_INT}")
]
Size = Annotated[int, Meta(ge=1, le=2**62, description="a whole number of bytes from 1 on")]
SizeOrNone = Annotated[int, Meta(ge=0, le=2**62, description="a whole number of bytes from 0 on")]
Seconds = Annotated[float, Meta(ge=0, le=1e9, description="a number of seconds from 0 to 1e9")]
Timeout = Annotated[float, Meta(ge=1, le=1e9, description="a number of seconds from 1 to 1e9")]
Share = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
Retention = Annotated[
    int, Meta(ge=-1, le=2**62, description="a whole number of milliseconds from 1 on, or -1 for no limit")
]
Replication = Annotated[
    int, Meta(ge=-1, le=32_767, description="a whole number from 1 on, or -1 for the default of the brokers")
]
BatchSize = Annotated[int, Meta(ge=1, le=MAX_INT, description=f"a whole number of bytes from 1 to {MAX_INT}")]
Prefix = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z",
        description="1 to 100 letters, digits, `.`, `_` or `-`, as the names of topics are",
    ),
]
Protocol = Annotated[
    str,
    Meta(
        pattern=r"^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)\Z",
        description="one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
    ),
]
Mechanism = Annotated[
    str,
    Meta(
        pattern=r"^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)\Z",
        description="one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
    ),
]
ProviderName = Annotated[
    str, Meta(pattern=r"^(cpu|cuda|tensorrt)\Z", description="one of cpu, cuda, tensorrt")
]
Text = Annotated[str, Meta(min_length=1, description="a text that is not empty")]


class KafkaConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The connection to Kafka, and the properties of its topics."""

    bootstrap: Text = "127.0.0.1:9092"
    security_protocol: Protocol = "PLAINTEXT"  # or SSL, SASL_PLAINTEXT, SASL_SSL
    sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    username: Text | None = None
    password: Text | None = None
    password_file: Text | None = None  # instead of ``password``: read at each connection
    ca_file: Text | None = None
    cert_file: Text | None = (
        None  # the client's certificate, in PEM; with its key, or the key in ``key_file``
    )
    key_file: Text | None = None
    key_password: Text | None = None
    topic_prefix: Prefix = "inferstream"
    partitions: Partitions | None = None  # if given, existing topics must have this number too
    replication: Replication = -1  # of new topics; -1: the default of the brokers
    retention_ms: Retention = 7 * 24 * 3600 * 1000
    session_timeout_ms: Milliseconds = 6_000
    heartbeat_ms: Milliseconds = 500
    rebalance_timeout_ms: Milliseconds = 15_000
    connect_timeout_ms: Milliseconds = 10_000
    max_idle_ms: Milliseconds = 45_000  # close a connection without traffic, before a firewall forgets it
    max_batch_bytes: BatchSize = 16_777_216  # of a compressed batch of records, when it is unpacked


class WindowConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds for the records that a worker has read and not yet committed."""

    max_in_flight: Count = 1_024  # requests running
    max_bytes: Size = 8_000_000  # of the requests that were read and have no durable answer yet
    max_span: Count = 8_192  # offsets from the oldest unfinished record of a partition to the newest one read
    commit_interval_ms: Milliseconds = 250
    revoke_timeout_ms: MillisecondsOrNone = 3_000
    drain_timeout_ms: MillisecondsOrNone = 20_000


class RetryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Retries of requests that failed with a transient error."""

    tiers_s: list[Count] = field(default_factory=lambda: [1, 30])  # delay before each further attempt
    max_attempts: Count = 4
    in_place_s: Seconds = 5.0  # time limit of retries where order matters; later records of the key wait
    budget_share: Share = 0.1  # retries per request read
    budget_burst: Count = 100


class BreakerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """When a worker stops reading because too many requests become dead letters."""

    in_a_row: Count = 20
    share: Share = 0.5  # of the last ``window`` requests
    window: Count = 100
    cooldown_s: Seconds = 10.0


class LimitConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of requests and replies.

    ``reply_topics`` are the allowed reply topics, as shell patterns; ``{prefix}`` and ``{task}``
    are replaced. The default reply topic of a task is always allowed. ``echo_headers``
    are the headers that replies repeat, as shell patterns, 4 kB at most. ``unread_s``: how long an answer
    in pieces may wait for a reader that has stopped.
    """

    max_request_bytes: Size = 1_000_000
    max_request_tokens: Count = MAX_REQUEST_TOKENS  # of a text: what one request may cost the device
    max_reply_bytes: Size = 1_000_000
    reply_topics: list[Text] = field(default_factory=lambda: ["{prefix}.{task}.replies.*"])
    echo_headers: list[Text] = field(default_factory=list)
    unread_s: Timeout = 60.0


class EngineConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The device and its batches. None means that the value is chosen for this machine."""

    provider: ProviderName | None = None  # cpu, cuda, tensorrt
    lanes: LaneCount | None = None
    token_budget: Count | None = None  # the largest number of padded tokens of one batch
    max_rows: Count = 64
    run_timeout_s: Timeout = (
        60.0  # a run that takes longer, and 50 times what was predicted, ends the process
    )


class CacheConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The content-hash cache, by default in the user's cache folder. With 0 disk bytes it is in memory only."""

    enabled: bool = True
    directory: Text | None = None
    memory_bytes: SizeOrNone = 16_000_000
    disk_bytes: SizeOrNone = 1_000_000_000


class RegistryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Releases, and how a worker follows the aliases that its models name.

    ``url`` is a folder, or the address of a bucket as s3://bucket/models; by default the folder ``registry`` below
    the home folder.
    """

    url: Text | None = None
    poll_s: Timeout = 10.0  # between two looks at an alias, on average
    timeout_s: Timeout = 30.0  # of a call to the registry; of a transfer, how long no more may come
    memory_bytes: Size | None = (
        None  # that all releases loaded at once may take; else what is left of the memory
    )
    members_s: Seconds = (
        30.0  # a new release answers when all members of the group have it, or after this time
    )
    keep_labels: bool = (
        True  # refuse a release with other labels or dimensions than the one in whose place it comes
    )


class StepConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a chain: a task, and what it is asked.

    Attributes:
        task: the name of the task.
        name: of the step, in options and failures; the name of the task if it is not given.
        model: the model that answers; else the one that answers any request to the task.
        options: options of the task; those of a request override them.
        text: what the step is asked. ``{output.NAME}`` is a field of the answer of the step before, ``{output}`` its
            JSON, ``{text}`` what that step was asked, and ``{request.text}`` what the chain was asked.
            ``{output.NAME:lines}`` puts each item of a list on a line, ``{text:.500}`` takes the first 500 characters.
        request: instead of a text all fields that the step is asked, as ``messages``; each text in them is such a text.
    """

    task: Text
    name: Text | None = None
    model: Text | None = None
    options: dict[str, Any] = field(default_factory=dict)
    text: Text | None = None
    request: dict[str, Any] | None = None


class ChainConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A chain of tasks: the answer of each step is what the next one is asked. A name alone is a step too."""

    steps: list[Text | StepConfig]


TaskSettings = TypeVar("TaskSettings", bound=Struct)


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; each field but ``tasks`` is a table of the TOML file.

    ``chains`` are chains of tasks by their name, each a table: ``[chains.triage-pt]``. ``tasks``
    has the settings of tasks by the name of the task, each with the values that are given:
    ``{"triage": {"threshold": 0.5}}``. In the TOML file they are tables too, e.g. ``[triage]``.
    """

    kafka: KafkaConfig = KafkaConfig()
    window: WindowConfig = WindowConfig()
    limits: LimitConfig = LimitConfig()
    retries: RetryConfig = RetryConfig()
    breaker: BreakerConfig = BreakerConfig()
    engine: EngineConfig = EngineConfig()
    cache: CacheConfig = CacheConfig()
    registry: RegistryConfig = RegistryConfig()
    chains: dict[str, ChainConfig] = field(default_factory=dict)
    tasks: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def of_task(self, name: str, kind: type[TaskSettings]) -> TaskSettings:
        """The settings of a task, as its own type; defaults for what is not given. Raises UsageError."""
        try:
            return msgspec.convert(self.tasks.get(name, {}), kind)
        except msgspec.ValidationError as error:
            raise UsageError(f"The settings of {name!r} are wrong: {error}.") from error
