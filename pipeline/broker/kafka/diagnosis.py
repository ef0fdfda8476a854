"""Why no connection came about. aiokafka writes that to its log only."""

import asyncio
import os
import socket
import ssl
from typing import Final

from ...config import KafkaConfig
from ...settings.addresses import parse_addresses
from .security import ssl_context

TIMEOUT_S: Final = 3.0


async def causes(config: KafkaConfig) -> str:
    """What is wrong at each address that does not take a connection, as a list in words; "" if all do."""
    addresses = parse_addresses(config.bootstrap).split(",")
    found = await asyncio.gather(*(cause(address, config) for address in addresses))
    return "; ".join(f"{address}: {why}" for address, why in zip(addresses, found, strict=True) if why)


async def cause(address: str, config: KafkaConfig) -> str | None:
    """Why no connection to ``host:port`` comes about; None if one does."""
    host, _, port = address.rpartition(":")
    context = ssl_context(config) if config.security_protocol.endswith("SSL") else None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, TimeoutError) as error:
        return _in_words(error, during=" during the TLS handshake" if context else "")
    writer.transport.abort()
    return None


def _in_words(error: Exception, during: str) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"TLS failed, certificate verify failed: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed, {_words(error)}"
        case TimeoutError():
            return f"no answer in {TIMEOUT_S:g} s"
        case socket.gaierror():
            return "the name is not known"
        case ConnectionResetError():
            return f"the connection was closed{during}"
        case _:
            # asyncio puts the address into `strerror`, which the sentence has already.
            number = getattr(error, "errno", None)
            return (os.strerror(number) if number else str(error)).lower()


def _words(error: ssl.SSLError) -> str:
    """OpenSSL's reason, and what it means where OpenSSL speaks in riddles."""
    reason = str(error.reason or error).replace("_", " ").lower()
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"{reason}: this port does not speak TLS"
    return reason
