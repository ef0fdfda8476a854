"""Kafka addresses as people write them."""

import re
from ipaddress import IPv6Address
from typing import Final

from ..errors import UsageError

DEFAULT_PORT: Final = 9092
MAX_PORT: Final = 65_535
SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*)://(.*)")
HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")
PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
EXAMPLE: Final = "write HOST:PORT, as in broker-1:9092, and commas between several"


def parse_addresses(text: str) -> str:
    """The addresses in ``text`` as ``host:port,host:port``.

    Commas or blanks separate them, and a host without a port gets 9092. Raises UsageError for
    anything else, with the part that is wrong.
    """
    parts = re.split(r"[\s,]+", text.strip(" \t\r\n,"))
    if parts == [""]:
        raise UsageError(f"There is no Kafka address: {EXAMPLE}.")
    return ",".join(map(_address, parts))


def _address(part: str) -> str:
    if scheme := SCHEME.fullmatch(part):
        raise _with_scheme(scheme[1], scheme[2])
    if "@" in part:  # not repeated in the sentence: it may hold a password
        raise UsageError(f"A Kafka address holds no user name (before `@`): {EXAMPLE}.")
    if "/" in part:
        raise _refused(part, f"has a path: write {part.partition('/')[0]}")
    host, port = _split(part)
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= MAX_PORT):
        raise _refused(part, f"has the port {port[:20]!r}: a port is a number from 1 to {MAX_PORT}")
    return f"{host}:{int(port)}"


def _split(part: str) -> tuple[str, str]:
    if part.startswith("["):
        return _split_ipv6(part)
    if part.count(":") > 1:
        raise _refused(part, f"is an IPv6 address: write it in brackets, as in [{_ipv6_of(part)}]:9092")
    host, colon, port = part.partition(":")
    if not host:
        raise _refused(part, f"has no host: {EXAMPLE}")
    if not HOST.fullmatch(host):
        raise _refused(
            part, f"has a host name with other characters than letters, digits, `.`, `-`: {EXAMPLE}"
        )
    return host, port if colon else str(DEFAULT_PORT)


def _split_ipv6(part: str) -> tuple[str, str]:
    found = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", part)
    if not found:
        raise _refused(part, "has brackets that do not match: write it as in [::1]:9092")
    try:
        IPv6Address(found[1])
    except ValueError as error:
        raise _refused(
            part, f"holds no IPv6 address in its brackets ({error}): write it as in [::1]:9092"
        ) from error
    return f"[{found[1]}]", str(DEFAULT_PORT) if found[2] is None else found[2]


def _ipv6_of(part: str) -> str:
    """``part``, or what is before its last colon if only that is an IPv6 address."""
    for candidate in (part, part.rpartition(":")[0]):
        try:
            IPv6Address(candidate)
        except ValueError:
            continue
        return candidate
    return "::1"


def _with_scheme(scheme: str, rest: str) -> UsageError:
    address = rest.rpartition("@")[2].partition("/")[0]
    named = f"The Kafka address {scheme}://{address} begins with {scheme}://: write {address}"
    if scheme.upper() not in PROTOCOLS:
        return UsageError(f"{named}.")
    return UsageError(f'{named}, and set kafka.security_protocol = "{scheme.upper()}".')


def _refused(part: str, why: str) -> UsageError:
    shown = part if len(part) <= 100 else f"{part[:100]}…"
    return UsageError(f"The Kafka address {shown!r} {why}.")
