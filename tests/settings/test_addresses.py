"""Kafka addresses as people paste them: read, or refused in one sentence that shows what to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.settings.addresses import parse_addresses


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("h:9092", "h:9092"),
        ("h", "h:9092"),
        (" h:9092 ", "h:9092"),
        ("h:9092,", "h:9092"),
        ("h1:1,h2:2", "h1:1,h2:2"),
        ("h1:1, h2:2 ,", "h1:1,h2:2"),
        ("h1:1 h2:2\nh3:3\n", "h1:1,h2:2,h3:3"),
        ("h1:1,,h2:2", "h1:1,h2:2"),
        ("127.0.0.1:19092", "127.0.0.1:19092"),
        ("kafka_1.my-net.example.:9092", "kafka_1.my-net.example.:9092"),
        ("[::1]:9092", "[::1]:9092"),
        ("[::1]", "[::1]:9092"),
        ("[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
        ("h:009092", "h:9092"),
    ],
)
def test_addresses_that_are_read(text: str, read: str) -> None:
    assert parse_addresses(text) == read
    assert parse_addresses(read) == read


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "There is no Kafka address: write HOST:PORT"),
        (" , ", "There is no Kafka address"),
        ("SASL_SSL://h:9092", 'write h:9092, and set kafka.security_protocol = "SASL_SSL".'),
        ("plaintext://h:9092", 'set kafka.security_protocol = "PLAINTEXT"'),
        ("http://h:9092/topic", "begins with http://: write h:9092."),
        ("kafka://user:secret@h:9092", "begins with kafka://: write h:9092."),
        ("h1:1,SSL://h2:2", "write h2:2"),
        ("h:9092/", "has a path: write h:9092."),
        ("h:9092/topic", "has a path: write h:9092."),
        ("user:secret@h:9092", "holds no user name"),
        ("[::1", "brackets that do not match"),
        ("[::1]9092", "brackets that do not match"),
        ("::1]:9092", "write it in brackets"),
        ("[h]:9092", "no IPv6 address in its brackets"),
        ("::1", "write it in brackets, as in [::1]:9092"),
        ("2001:db8::1:9092", "write it in brackets"),
        ("h:99999", "a port is a number from 1 to 65535"),
        ("h:0", "a port is a number"),
        ("h:", "a port is a number"),
        ("h:-1", "a port is a number"),
        ("h:9092x", "a port is a number"),
        ("h:٩٠٩٢", "a port is a number"),
        ("h:" + "9" * 5000, "a port is a number"),
        (":9092", "has no host"),
        ("a;b:1", "other characters"),
        ('"h:9092"', "other characters"),
        ("höst:1", "other characters"),
        ("tcp:h:1", "IPv6"),
    ],
)
def test_addresses_that_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_addresses(text)
    said = str(raised.value)
    assert sentence in said
    assert said.count("\n") == 0
    assert len(said) < 400
    assert "secret" not in said


@given(st.text(alphabet="ah1:/[],. @%#\n\x00é-9", max_size=40) | st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = parse_addresses(text)
    except UsageError:
        return
    assert parse_addresses(read) == read
    for address in read.split(","):
        host, _, port = address.rpartition(":")
        assert host
        assert 1 <= int(port) <= 65_535
