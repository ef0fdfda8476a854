"""The HTTP client of all downloads, with the proxies and certificates of the user's environment."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx

from ..errors import ModelError

TIMEOUT = httpx.Timeout(15.0, connect=4.0)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Unreachable(ModelError):
    """A source is not reachable or does not have the file; another source may have it."""


class Corrupted(ModelError):
    """A source has the file with another digest; another source may have the right one."""


def http_client() -> httpx.Client:
    """A client. Raises Unreachable with the variable that it cannot use."""
    try:
        return httpx.Client(timeout=TIMEOUT, follow_redirects=True)
    except (httpx.InvalidURL, ValueError, ImportError, OSError) as error:
        named = next(_faults(), None) or f"the settings of proxies and certificates ({error})"
        raise Unreachable(f"Nothing can be fetched: {named}.") from error


def _faults() -> Iterator[str]:
    """What is wrong with which variable. httpx looks at them together and does not name them."""
    cafile = os.environ.get("SSL_CERT_FILE")
    if cafile and (reason := _certificate_fault(cafile)):
        yield f"SSL_CERT_FILE={cafile} {reason}"
    for variable in (name for upper in PROXIES for name in (upper, upper.lower())):
        value = os.environ.get(variable)
        if value and (reason := _proxy_fault(value)):
            yield f"{variable}={_without_password(value)} {reason}"
    for variable in ("NO_PROXY", "no_proxy"):
        entries = os.environ.get(variable, "").split(",")
        if wrong := [entry.strip() for entry in entries if not _is_host(entry.strip())]:
            yield (
                f"{variable}={','.join(entries)} has {wrong[0]!r}, which the HTTP client cannot read; "
                "write an IPv6 address without brackets"
            )


def _is_host(entry: str) -> bool:
    """Whether httpx can read an entry of NO_PROXY, from which it makes such a pattern."""
    try:
        httpx.URL(f"all://*{entry}")
    except httpx.InvalidURL:
        return (
            entry.count(":") > 1 and "[" not in entry
        )  # an IPv6 address, for which it has a case of its own
    return True


def _certificate_fault(path: str) -> str | None:
    if not Path(path).is_file():
        return "is no file"
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # SSLError is one
        return f"cannot be read as certificates ({error.strerror or error})"
    return None


def _proxy_fault(value: str) -> str | None:
    url = value if "://" in value else f"http://{value}"
    try:
        httpx.Client(proxy=url, trust_env=False).close()
    except ImportError:
        return "is a SOCKS proxy, for which the package socksio is missing; install it, or name an HTTP proxy"
    except (httpx.InvalidURL, ValueError) as error:
        return f"is no address of a proxy ({error})"
    return None


def _without_password(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
