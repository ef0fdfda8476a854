"""A Kafka with users: one open listener, and one that needs SCRAM, where a user has only granted rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.kafka_local.node import HOST
from inferstream.pipeline.kafka_local.ports import free_ports

PASSWORD = "secret"


class SecuredKafka(NamedTuple):
    """Two addresses: ``open`` has no access control, at ``secured`` users log in and need rights."""

    open: str
    secured: str

    def add_user(self, name: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.open})
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
        change = UserScramCredentialUpsertion(name, credential, PASSWORD.encode())
        for done in admin.alter_user_scram_credentials([change]).values():
            done.result(30)

    def grant(self, user: str, operation: AclOperation, kind: ResourceType, name: str) -> None:
        """Allow the operation on all resources whose name begins with ``name``."""
        binding = AclBinding(
            kind,
            name,
            ResourcePatternType.LITERAL if kind == ResourceType.BROKER else ResourcePatternType.PREFIXED,
            f"User:{user}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        admin = AdminClient({"bootstrap.servers": self.open})
        for done in admin.create_acls([binding]).values():
            done.result(30)

    def config(self, user: str, **settings: str | None) -> KafkaConfig:
        given = {"security_protocol": "SASL_PLAINTEXT", "username": user, "password": PASSWORD} | settings
        return KafkaConfig(bootstrap=self.secured, **given)  # type: ignore[arg-type]


@contextmanager
def secured_kafka(directory: Path) -> Iterator[SecuredKafka]:
    port, secured, controller = free_ports(3)
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    listeners = f"PLAINTEXT://{HOST}:{port},SECURED://{HOST}:{secured}"
    properties = {
        "listeners": f"{listeners},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": listeners,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:SASL_PLAINTEXT",
        "listener.name.secured.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secured.scram-sha-512.sasl.jaas.config": login,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with LocalKafka(directory, port=port, properties=properties):
        yield SecuredKafka(f"{HOST}:{port}", f"{HOST}:{secured}")
