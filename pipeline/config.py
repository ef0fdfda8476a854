"""Settings, from a TOML file. Command-line options and INFERSTREAM_… variables override them in `cli`."""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from .errors import UsageError

NEW_PARTITIONS: Final = 4
"""Partitions of new topics if the settings give no number."""


class KafkaConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The connection to Kafka, and the properties of its topics."""

    bootstrap: str = "127.0.0.1:9092"
    security_protocol: str = "PLAINTEXT"  # or SSL, SASL_PLAINTEXT, SASL_SSL
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    topic_prefix: str = "inferstream"
    partitions: int | None = None  # if given, existing topics must have this number too
    replication: int = 1
    retention_ms: int = 7 * 24 * 3600 * 1000
    session_timeout_ms: int = 6_000
    heartbeat_ms: int = 500
    rebalance_timeout_ms: int = 15_000


class WindowConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds for the records that a worker has read and not yet committed."""

    max_in_flight: int = 1_024  # requests running
    max_span: int = 8_192  # offsets from the oldest unfinished record of a partition to the newest one read
    commit_interval_ms: int = 250
    revoke_timeout_ms: int = 3_000
    drain_timeout_ms: int = 20_000


class RetryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Retries of requests that failed with a transient error."""

    tiers_s: list[int] = field(default_factory=lambda: [1, 30])  # delay before each further attempt
    max_attempts: int = 4
    in_place_s: float = 5.0  # time limit of retries where order matters; later records of the key wait
    budget_share: float = 0.1  # retries per request read
    budget_burst: int = 100


class BreakerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """When a worker stops reading because too many requests become dead letters."""

    in_a_row: int = 20
    share: float = 0.5  # of the last ``window`` requests
    window: int = 100
    cooldown_s: float = 10.0


class LimitConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of requests and replies.

    ``reply_topics`` are the allowed reply topics, as shell patterns; ``{prefix}`` and ``{task}``
    are replaced. The default reply topic of a task is always allowed.
    """

    max_request_bytes: int = 1_000_000
    max_reply_bytes: int = 1_000_000
    reply_topics: list[str] = field(default_factory=lambda: ["{prefix}.{task}.replies.*"])


class EngineConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The device and its batches. None means that the value is chosen for this machine."""

    provider: str | None = None  # cpu, cuda, tensorrt
    lanes: int | None = None
    token_budget: int | None = None  # the largest number of padded tokens of one batch
    max_rows: int = 64


class CacheConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The content-hash cache, by default in the user's cache folder. With 0 disk bytes it is in memory only."""

    enabled: bool = True
    directory: str | None = None
    memory_bytes: int = 16_000_000
    disk_bytes: int = 1_000_000_000


class TriageConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Classification of tickets."""

    model: str = "minilm-int8"
    taxonomy: str | None = None  # path of a TOML file; without it the built-in taxonomy
    threshold: float | None = None


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; each field is a table of the TOML file."""

    kafka: KafkaConfig = KafkaConfig()
    window: WindowConfig = WindowConfig()
    limits: LimitConfig = LimitConfig()
    retries: RetryConfig = RetryConfig()
    breaker: BreakerConfig = BreakerConfig()
    engine: EngineConfig = EngineConfig()
    cache: CacheConfig = CacheConfig()
    triage: TriageConfig = TriageConfig()


def load_config(path: Path | None) -> Config:
    """The settings in ``path``; the defaults without a path. Raises UsageError that names the wrong setting."""
    if path is None:
        return Config()
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Config)
    except OSError as error:
        raise UsageError(f"Cannot read the settings file {path}: {error.strerror}.") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"The settings file {path} is wrong: {error}.") from error
