"""Certificates, keys and passwords: used as given, and named when they cannot be used."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.broker.kafka.connection import connection_arguments
from inferstream.pipeline.broker.kafka.diagnosis import causes
from inferstream.pipeline.broker.kafka.security import password_of, ssl_context
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.errors import BrokerError, UsageError

TLS = Path(__file__).parents[2] / "support" / "tls"
SSL = KafkaConfig(security_protocol="SSL", ca_file=str(TLS / "server.pem"))
CLIENT = {"cert_file": str(TLS / "client.pem"), "key_file": str(TLS / "client.key")}


@asynccontextmanager
async def server(*, client_certificates: bool = False) -> AsyncIterator[str]:
    """The address of a server that speaks TLS, echoes one line and closes."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    if client_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(TLS / "client.pem")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context) as listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def echoed(address: str, config: KafkaConfig) -> bytes:
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=ssl_context(config))
    writer.write(b"hello\n")
    line = await reader.readline()
    writer.close()
    return line


async def test_a_client_certificate_is_shown() -> None:
    config = replace(SSL, **CLIENT)
    async with server(client_certificates=True) as address:
        assert await echoed(address, config) == b"hello\n"
        with suppress(OSError):
            assert await echoed(address, SSL) != b"hello\n", "without a certificate there is no answer"


async def test_an_encrypted_key_is_opened_with_its_password() -> None:
    config = replace(SSL, **CLIENT | {"key_file": str(TLS / "client-encrypted.key")}, key_password="secret")
    async with server(client_certificates=True) as address:
        assert await echoed(address, config) == b"hello\n"


async def test_certificate_and_key_may_be_in_one_file(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text((TLS / "client.pem").read_text() + (TLS / "client.key").read_text())
    async with server(client_certificates=True) as address:
        assert await echoed(address, replace(SSL, cert_file=str(both))) == b"hello\n"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"ca_file": "/absent"}, "kafka.ca_file /absent .*No such file"),
        ({"ca_file": __file__}, "kafka.ca_file .*must be PEM"),
        ({"cert_file": "/absent"}, "Cannot read /absent: No such file"),
        ({**CLIENT, "key_file": "/absent"}, "Cannot read /absent: No such file"),
        (
            {**CLIENT, "key_file": str(TLS / "server.key")},
            "client.pem with the key .*server.key .*belong together",
        ),
        ({**CLIENT, "key_file": str(TLS / "client-encrypted.key")}, "key_password must open"),
        (
            {**CLIENT, "key_file": str(TLS / "client-encrypted.key"), "key_password": "wrong"},
            "key_password must open",
        ),
        ({**CLIENT, "cert_file": __file__}, "both must be PEM"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as raised:
        connection_arguments(replace(SSL, **settings))
    assert "secret" not in str(raised.value)


SASL = KafkaConfig(security_protocol="SASL_PLAINTEXT", username="u")


def test_the_password_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    path = tmp_path / "password"
    config = replace(SASL, password_file=str(path))
    for password in ("first", "wörd with blanks "):
        path.write_text(f"{password}\n", "utf-8")
        assert connection_arguments(config)["sasl_plain_password"] == password
    path.write_text("\n")
    with pytest.raises(UsageError, match="is empty"):
        password_of(config)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"Cannot read kafka.password_file"):
        password_of(config)
    path.unlink()
    with pytest.raises(UsageError, match="No such file"):
        password_of(config)


async def test_a_failed_handshake_says_what_openssl_said() -> None:
    async with server() as address:
        config = KafkaConfig(bootstrap=address, security_protocol="SSL")
        with pytest.raises(
            BrokerError, match=f"{address}: TLS failed, certificate verify failed: self-signed"
        ):
            async with KafkaBroker(config):
                pass


async def test_the_cause_at_each_address_is_told() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"not TLS at all")
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as plain, server() as tls:
        port = plain.sockets[0].getsockname()[1]
        config = KafkaConfig(
            bootstrap=f"127.0.0.1:1,no-such-host.invalid:9092,127.0.0.1:{port},localhost:{tls.split(':')[1]}",
            security_protocol="SSL",
            ca_file=str(TLS / "server.pem"),
        )
        told = await causes(config)
    assert "127.0.0.1:1: " in told
    assert "no-such-host.invalid:9092: the name is not known" in told
    assert f"127.0.0.1:{port}: TLS failed, wrong version number: this port does not speak TLS" in told
    assert tls.split(":")[1] not in told, "the server that takes the connection is not blamed"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"bootstrap": "h:99999"}, "h:99999"),
        ({"bootstrap": "SASL_SSL://h:1"}, "write h:1"),
        ({"security_protocol": "sasl_ssl"}, "in capital letters"),
        ({"sasl_mechanism": "OAUTHBEARER", "security_protocol": "SASL_SSL"}, "OAUTHBEARER"),
        ({"username": "u"}, "PLAINTEXT"),
    ],
)
def test_settings_from_python_are_checked_too(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        KafkaBroker(KafkaConfig(**settings))  # type: ignore[arg-type]
