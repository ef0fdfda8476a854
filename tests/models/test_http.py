"""Proxies and certificates of the environment: what the HTTP client cannot use is named."""

from pathlib import Path

import pytest

from inferstream.pipeline.models.fetching import Downloader
from inferstream.pipeline.models.http import Unreachable, http_client

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def not_certificates(tmp_path: Path) -> str:
    (tmp_path / "cert.pem").write_text("not a certificate")
    return str(tmp_path / "cert.pem")


WRONG = [
    ("NO_PROXY", "[::1]"),
    ("no_proxy", "localhost,[::1],10.0.0.1"),
    ("ALL_PROXY", "socks5://127.0.0.1:1080"),
    ("https_proxy", "socks4://127.0.0.1:1080"),
    ("HTTP_PROXY", "ftp://proxy:21"),
    ("HTTPS_PROXY", "http://proxy:notaport"),
    ("HTTP_PROXY", "http://[::1"),
    ("SSL_CERT_FILE", "/nonexistent/cert.pem"),
    ("SSL_CERT_FILE", "/"),
]


@pytest.mark.parametrize(("variable", "value"), WRONG)
def test_the_variable_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Unreachable, match=f"{variable}=") as caught:
        http_client()
    assert value in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("variable", "value"), WRONG)
def test_among_good_ones_the_wrong_one_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,.example.org,10.0.0.0/8,::1")
    monkeypatch.setenv(variable, value)
    with pytest.raises(Unreachable, match=f"{variable}="):
        http_client()


def test_certificates_that_are_none(not_certificates: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", not_certificates)
    with pytest.raises(Unreachable, match=r"SSL_CERT_FILE=.* cannot be read as certificates"):
        http_client()


def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://me:secret@proxy:21")
    with pytest.raises(Unreachable, match="HTTPS_PROXY=ftp://proxy:21") as caught:
        http_client()
    assert "secret" not in str(caught.value)


def test_good_settings_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,.example.org,10.0.0.0/8,::1,*")
    http_client().close()


def test_where_nothing_is_fetched_they_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "[::1]")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with Downloader(lambda *_: None):
        pass
