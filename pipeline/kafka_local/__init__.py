"""A real Kafka on this machine, without Java or Docker."""

from . import node  # noqa: F401  # first: without it, the error must name the extra `kafka-local`
