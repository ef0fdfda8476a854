"""Settings, from a TOML file. Command-line options and INFERSTREAM_… variables override them in `cli`."""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from .errors import UsageError

NEW_PARTITIONS: Final = 4
"""Partitions of topics that are made without a number having been asked for."""


class KafkaConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach Kafka, and what its topics must look like."""

    bootstrap: str = "127.0.0.1:9092"
    security_protocol: str = "PLAINTEXT"  # or SSL, SASL_PLAINTEXT, SASL_SSL
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    topic_prefix: str = "inferstream"
    partitions: int | None = None  # a number is asked of topics that exist too
    replication: int = 1
    retention_ms: int = 7 * 24 * 3600 * 1000
    session_timeout_ms: int = 6_000
    heartbeat_ms: int = 500
    rebalance_timeout_ms: int = 15_000


class WindowConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The bounds of what a worker has taken on and not yet committed."""

    max_in_flight: int = 1_024  # requests running
    max_span: int = 8_192  # offsets between the oldest unfinished record of a partition and its newest
    commit_interval_ms: int = 250
    revoke_timeout_ms: int = 3_000
    drain_timeout_ms: int = 20_000


class RetryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How often a request is tried that failed for a passing reason."""

    tiers_s: list[int] = field(default_factory=lambda: [1, 30])  # delay before each further attempt
    max_attempts: int = 4
    in_place_s: float = (
        5.0  # a request whose order matters waits in its place at most so long, then is given up
    )
    budget_share: float = 0.1  # retries for each request read
    budget_burst: int = 100


class BreakerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """When a worker stops reading because what it reads becomes dead letters."""

    in_a_row: int = 20
    share: float = 0.5
    window: int = 100  # requests that the share is of
    cooldown_s: float = 10.0


class LimitConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What a request may ask for. Reply topics are shell patterns in which ``{prefix}`` and ``{task}`` are filled in.

    The task's default reply topic may always be used.
    """

    max_request_bytes: int = 1_000_000
    max_reply_bytes: int = 1_000_000
    reply_topics: list[str] = field(default_factory=lambda: ["{prefix}.{task}.replies.*"])


class EngineConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The device and what runs on it. None means: chosen from what the machine has."""

    provider: str | None = None  # cpu, cuda, tensorrt
    lanes: int | None = None
    token_budget: int | None = None  # padded tokens of one batch at most
    max_rows: int = 64


class CacheConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The content-hash cache, by default in the user's cache folder; 0 disk bytes leave the memory tier."""

    enabled: bool = True
    directory: str | None = None
    memory_bytes: int = 16_000_000
    disk_bytes: int = 1_000_000_000


class TriageConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How tickets are classified."""

    model: str = "minilm-int8"
    taxonomy: str | None = None  # a TOML file; the one shipped as an example by default
    threshold: float | None = None


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, one table of the TOML file each."""

    kafka: KafkaConfig = KafkaConfig()
    window: WindowConfig = WindowConfig()
    limits: LimitConfig = LimitConfig()
    retries: RetryConfig = RetryConfig()
    breaker: BreakerConfig = BreakerConfig()
    engine: EngineConfig = EngineConfig()
    cache: CacheConfig = CacheConfig()
    triage: TriageConfig = TriageConfig()


def load_config(path: Path | None) -> Config:
    """The settings in ``path``, defaults without one. Raises UsageError naming the setting at fault."""
    if path is None:
        return Config()
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Config)
    except OSError as error:
        raise UsageError(f"Cannot read the settings file {path}: {error.strerror}.") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"The settings file {path} is wrong: {error}.") from error
