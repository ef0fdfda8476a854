"""A real Kafka on this machine, without Java or Docker."""

from . import node  # noqa: F401  # first: an install without Java must be pointed to the extra `kafka-local`, not `cpu`
