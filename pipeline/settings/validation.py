"""The checks of settings. An error names the setting, where it was given, its value, and what it may be."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, structs

from ..config import ChainConfig, KafkaConfig
from ..errors import UsageError
from .addresses import parse_addresses
from .sources import OWN_TABLES, Given, Givens, Tables, names_of, type_of

SECRETS: Final = frozenset({"kafka.password", "kafka.key_password"})
USER_SETTINGS: Final = ("username", "password", "password_file", "sasl_mechanism")
CERTIFICATE_SETTINGS: Final = ("ca_file", "cert_file", "key_file", "key_password")
DEFAULTS: Final = KafkaConfig()
PLAIN_TYPES: Final = {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}
SEQUENCES: Final = (list, tuple, set, frozenset)
BOUNDS: Final = {
    "ge": "at least",
    "gt": "more than",
    "le": "at most",
    "lt": "less than",
    "multiple_of": "a multiple of",
    "min_length": "of a length of at least",
    "max_length": "of a length of at most",
    "pattern": "that matches",
}
NOT_SPOKEN: Final = {
    "OAUTHBEARER": "OAUTHBEARER needs a source of tokens, which inferstream does not have",
    "GSSAPI": "Kerberos is not supported",
}


def check(givens: Givens, tables: Tables = OWN_TABLES) -> None:
    """Raise UsageError for the first value that its setting may not have, alone or beside the others."""
    for path, given in givens.items():
        _check_value(path, given, type_of(path, tables))
    for problem in ConnectionCheck(givens).problems():
        raise UsageError(problem)


def check_kafka(config: KafkaConfig) -> KafkaConfig:
    """``config`` with its addresses as Kafka's clients read them. Raises UsageError."""
    values = {name: getattr(config, name) for name in names_of(KafkaConfig)}
    changed = {name: value for name, value in values.items() if value != getattr(DEFAULTS, name)}
    check({f"kafka.{name}": Given(value, f"kafka.{name}") for name, value in changed.items()})
    return structs.replace(config, bootstrap=parse_addresses(config.bootstrap))


def _check_value(path: str, given: Given, kind: Any) -> None:
    try:
        msgspec.convert(given.value, kind)
    except msgspec.ValidationError as error:
        if kind is ChainConfig:
            raise _wrong_chain(given, error) from None
        raise UsageError(
            f"{_is(path, given)}: it must be {_allowed(kind)}{_hint(path, given.value)}."
        ) from None
    if path == "kafka.bootstrap":
        _check_address(given)
    if path in ("kafka.retention_ms", "kafka.replication") and given.value == 0:
        raise UsageError(f"{_is(path, given)}: it must be {_allowed(kind)}.")


def _wrong_chain(given: Given, error: msgspec.ValidationError) -> UsageError:
    reason, _, where = str(error).partition(" - at `$.")
    place = f" at {where.rstrip('`')}" if where else ""
    return UsageError(
        f"{_capital(given.origin)} is wrong{place} ({reason[:1].lower()}{reason[1:]}): write it as in "
        'steps = ["translate", {task = "triage", options = {runners_up = 0}}].'
    )


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
    """What values of this type may be, in words. The types of tasks from elsewhere may be any."""
    parts = get_args(kind)
    if get_origin(kind) in SEQUENCES and parts:
        return f"a list; each of it {_allowed(parts[0])}"
    if get_origin(kind) is Annotated:
        metas = [meta for meta in parts[1:] if isinstance(meta, Meta)]
        described = [meta.description for meta in metas if meta.description]
        return described[0] if described else ", ".join([_allowed(parts[0]), *_bounds(metas)])
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if kind in PLAIN_TYPES:
        return PLAIN_TYPES[kind]
    others = [one for one in parts if one is not type(None)]
    return _allowed(others[0]) if others and type(None) in parts else f"a value of the type {_name(kind)}"


def _bounds(metas: list[Meta]) -> Iterator[str]:
    """The bounds of a type that has no description, in words."""
    for meta in metas:
        for name, words in BOUNDS.items():
            if (bound := getattr(meta, name)) is not None:
                yield f"{words} {bound}"


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


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
