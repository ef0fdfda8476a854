"""The checks of settings. An error names the setting, where it was given, its value, and what it may be."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, structs

from ..config import KafkaConfig
from ..errors import UsageError
from .addresses import parse_addresses
from .sources import NAMES, TABLES, Given, Givens

SECRETS: Final = frozenset({"kafka.password", "kafka.key_password"})
USER_SETTINGS: Final = ("username", "password", "password_file", "sasl_mechanism")
CERTIFICATE_SETTINGS: Final = ("ca_file", "cert_file", "key_file", "key_password")
DEFAULTS: Final = KafkaConfig()
PLAIN_TYPES: Final = {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}
NOT_SPOKEN: Final = {
    "OAUTHBEARER": "OAUTHBEARER needs a source of tokens, which inferstream does not have",
    "GSSAPI": "Kerberos is not supported",
}


def check(givens: Givens) -> None:
    """Raise UsageError for the first value that its setting may not have, alone or beside the others."""
    for path, given in givens.items():
        _check_value(path, given)
    for problem in ConnectionCheck(givens).problems():
        raise UsageError(problem)


def check_kafka(config: KafkaConfig) -> KafkaConfig:
    """``config`` with its addresses as Kafka's clients read them. Raises UsageError."""
    values = {name: getattr(config, name) for name in NAMES["kafka"]}
    changed = {name: value for name, value in values.items() if value != getattr(DEFAULTS, name)}
    check({f"kafka.{name}": Given(value, f"kafka.{name}") for name, value in changed.items()})
    return structs.replace(config, bootstrap=parse_addresses(config.bootstrap))


def _check_value(path: str, given: Given) -> None:
    table, _, name = path.partition(".")
    kind = get_type_hints(TABLES[table], include_extras=True)[name]
    try:
        msgspec.convert(given.value, kind)
    except msgspec.ValidationError:
        raise UsageError(
            f"{_is(path, given)}: it must be {_allowed(kind)}{_hint(path, given.value)}."
        ) from None
    if path == "kafka.bootstrap":
        _check_address(given)
    if path in ("kafka.retention_ms", "kafka.replication") and given.value == 0:
        raise UsageError(f"{_is(path, given)}: it must be {_allowed(kind)}.")


def _check_address(given: Given) -> None:
    try:
        parse_addresses(str(given.value))
    except UsageError as error:
        raise UsageError(f"{_capital(given.origin)} is wrong. {error}") from None


class ConnectionCheck:
    """What is wrong with the settings of the connection beside each other, as sentences."""

    def __init__(self, givens: Givens) -> None:
        self._givens = givens

    def problems(self) -> Iterator[str]:
        protocol: str = self._value("security_protocol")
        if protocol.startswith("SASL_"):
            yield from self._missing_user(protocol)
        else:
            yield from self._stray(USER_SETTINGS, f"{protocol}, which has no users: set it to SASL_SSL")
        if not protocol.endswith("SSL"):
            yield from self._stray(
                CERTIFICATE_SETTINGS, f"{protocol}, which has no encryption: set it to SSL or SASL_SSL"
            )
        yield from self._pairs()

    def _missing_user(self, protocol: str) -> Iterator[str]:
        named = f"{self._origin('security_protocol')} is {protocol}, which needs"
        if not self._value("username"):
            yield f"{named} a user: set kafka.username."
        if not (self._value("password") or self._value("password_file")):
            yield f"{named} a password: set kafka.password_file, or the variable INFERSTREAM_KAFKA_PASSWORD."

    def _stray(self, names: tuple[str, ...], protocol: str) -> Iterator[str]:
        for name in names:
            if f"kafka.{name}" in self._givens:
                yield f"{self._origin(name)} is set, but kafka.security_protocol is {protocol}."

    def _pairs(self) -> Iterator[str]:
        if self._value("password") and self._value("password_file"):
            yield f"{self._origin('password')} and kafka.password_file are both set: set one of them."
        for name in ("key_file", "key_password"):
            if self._value(name) and not self._value("cert_file"):
                yield f"{self._origin(name)} is set without kafka.cert_file: set both."
        heartbeat_ms, session_ms = self._value("heartbeat_ms"), self._value("session_timeout_ms")
        if heartbeat_ms >= session_ms:
            yield (
                f"kafka.heartbeat_ms is {heartbeat_ms} and kafka.session_timeout_ms is {session_ms}: "
                "several heartbeats must fit into a session."
            )

    def _value(self, name: str) -> Any:
        given = self._givens.get(f"kafka.{name}")
        return getattr(DEFAULTS, name) if given is None else given.value

    def _origin(self, name: str) -> str:
        return _capital(self._givens[f"kafka.{name}"].origin)


def _is(path: str, given: Given) -> str:
    shown = "not shown here" if path in SECRETS else ascii(given.value)[:100]
    return f"{_capital(given.origin)} is {shown.replace(chr(39), chr(34))}"


def _allowed(kind: Any) -> str:
    """What values of this type may be, in words."""
    if get_origin(kind) is list:
        return f"a list; each of it {_allowed(get_args(kind)[0])}"
    if get_origin(kind) is Annotated:
        return next(str(meta.description) for meta in get_args(kind)[1:] if isinstance(meta, Meta))
    if kind in PLAIN_TYPES:
        return PLAIN_TYPES[kind]
    return next(_allowed(one) for one in get_args(kind) if one is not type(None))


def _hint(path: str, value: object) -> str:
    """What the value was probably meant to be."""
    if path == "kafka.sasl_mechanism" and str(value).upper() in NOT_SPOKEN:
        return f" ({NOT_SPOKEN[str(value).upper()]})"
    if path in ("kafka.security_protocol", "kafka.sasl_mechanism") and str(value) != str(value).upper():
        return ", in capital letters"
    return ""


def _capital(text: str) -> str:
    """The text with a capital first letter, unless it begins with the name of a setting or an option."""
    return f"T{text[1:]}" if text.startswith("the ") else text
