"""Who we are for Kafka, and whom we trust: TLS certificates and passwords of the settings."""

import ssl
from pathlib import Path

from ...config import KafkaConfig
from ...errors import UsageError
from ...home import expanded


def ssl_context(config: KafkaConfig) -> ssl.SSLContext:
    """The context of TLS connections. Raises UsageError for a certificate that cannot be used."""
    context = _trusting(config.ca_file)
    if config.cert_file:
        _identify(context, config, config.cert_file)
    return context


def password_of(config: KafkaConfig) -> str | None:
    """The password, read anew from its file: it may have been changed. Raises UsageError."""
    if not config.password_file:
        return config.password
    path = expanded(config.password_file, "kafka.password_file")
    try:
        password = path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read kafka.password_file {path}: {_reason(error)}.") from error
    if not password:
        raise UsageError(f"kafka.password_file {path} is empty: write the password into it.")
    return password


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    path = expanded(ca_file, "kafka.ca_file") if ca_file else None
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise UsageError(
            f"Cannot read trusted certificates from kafka.ca_file {path} ({_reason(error)}): it must be PEM."
        ) from error


def _identify(context: ssl.SSLContext, config: KafkaConfig, cert_file: str) -> None:
    cert = expanded(cert_file, "kafka.cert_file")
    key = expanded(config.key_file, "kafka.key_file") if config.key_file else cert
    for path in (cert, key):
        _check_readable(path)
    try:
        # A function, since without a password OpenSSL would ask for it on the terminal.
        context.load_cert_chain(cert, key, password=lambda: config.key_password or "")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot use the certificate {cert} with the key {key} ({_reason(error)}): both must be PEM and "
            "belong together, and kafka.key_password must open the key if it is encrypted."
        ) from error


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """What the system or OpenSSL says, without its codes."""
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
