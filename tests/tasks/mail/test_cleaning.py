"""A mail as it comes becomes what its sender wrote, whatever it is wrapped in; no mail costs more than linear work."""

import base64
import quopri
import subprocess
import sys
from email.message import EmailMessage
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.tasks.mail.cleaning import MAIL, cleaned

OWN = "I was charged twice for my order last week. I want the money back, 49 € please."
OLD = "Your parcel is on its way. You can track the delivery, or log in to your account."
INTRO = "On Mon, 3 Nov 2025 at 10:00, Support <support@shop.example> wrote:"
HEADERS = "From: Support\nSent: Monday, 3 November 2025 10:00\nTo: Ann\nSubject: Your order"
QUOTE = "\n".join(["> " + OLD] * 20)


def message(**how: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Ann <ann@example.com>"
    mail["To"] = "support@shop.example"
    mail["Subject"] = "Zu viel bezahlt: 49 €"
    mail.set_content(OWN, **how)  # type: ignore[arg-type]
    return mail


def with_html() -> EmailMessage:
    mail = message(cte="base64")
    mail.add_alternative(f"<p>{OWN}</p>", subtype="html")
    mail.add_attachment(b"x" * 3_000, "image", "png", filename="a.png")
    return mail


def only_html() -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = "Zu viel bezahlt: 49 €"
    mail.set_content(f"<div>{OWN}</div>", subtype="html", cte="quoted-printable")
    return mail


WRAPPED = {
    "plain": OWN,
    "html": f"<p>{OWN}</p>",
    "html of a page": f"<!DOCTYPE html><html><head><title>No</title><style>p {{ color: red }}</style></head>"
    f"<body><script>track('login')</script><p style='margin:0'>{OWN}</p></body></html>",
    "hidden": f"<div style='display: none'>Preview of the newsletter</div><div>{OWN}</div>",
    "never closed": f"<div><div><b>{OWN}",
    "gmail": f'<div dir="ltr">{OWN}</div><br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">On Mon, 3 Nov '
    'at 10:00 Support &lt;<a href="mailto:s@shop.example">s@shop.example</a>&gt; wrote:<br></div>'
    f'<blockquote class="gmail_quote" style="margin:0">{OLD}<br>{OLD}</blockquote></div>',
    "gmail signature": f'<div>{OWN}</div><div class="gmail_signature"><div>Ann, Login Inc.</div></div>',
    "outlook html": f'<p class="MsoNormal">{OWN}<o:p></o:p></p><div style="border:none;border-top:solid #E1E1E1 1.0pt">'
    "<p><b>From:</b> Support<br><b>Sent:</b> Monday<br><b>To:</b> Ann<br><b>Subject:</b> Your order</p></div>"
    f"<p>{OLD}</p>",
    "above quoted lines": f"{OWN}\n\n{INTRO}\n{QUOTE}\n",
    "above a wrapped line": f"{OWN}\n\nOn Mon, 3 Nov 2025 at 10:00, Support\n<support@shop.example> wrote:\n{QUOTE}\n",
    "below quoted lines": f"{INTRO}\n{QUOTE}\n\n{OWN}",
    "among quoted lines": f"> {OLD}\n> {OLD}\n> {OLD}\n{OWN}\n> {OLD}\n> {OLD}",
    "quoted without an introduction": f"{OWN}\n\n{QUOTE}",
    "german": f"{OWN}\n\nAm 03.11.2025 um 10:00 schrieb Support:\n{QUOTE}",
    "original message": f"{OWN}\n\n-----Original Message-----\n{HEADERS}\n\n{OLD}",
    "headers": f"{OWN}\n\n{HEADERS}\n\n{OLD}",
    "a line and headers": f"{OWN}\n\n________________________________\n{HEADERS}\n\n{OLD}",
    "signature": f"{OWN}\n\n-- \nAnn\nHead of Logins, Delivery Inc.",
    "signature without a space": f"{OWN}\n--\nAnn\nHead of Logins",
    "phone": f"{OWN}\n\nSent from my iPhone",
    "carriage returns": f"{OWN}\r\n\r\n{INTRO}\r\n{QUOTE}".replace("\n> ", "\r\n> "),
    "quoted-printable": quopri.encodestring(f"{OWN}\n\n{INTRO}\n{QUOTE}".encode()).decode(),
    "base64": base64.encodebytes(f"{OWN}\n\n{QUOTE}".encode()).decode(),
    "forwarded without a word": f"---------- Forwarded message ---------\n{HEADERS}\n\n{OWN}",
    "only quoted": f"> {OWN}",
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_the_sender_wrote_is_left(name: str) -> None:
    assert " ".join(cleaned(WRAPPED[name], MAIL).split()) == OWN
    assert cleaned(WRAPPED[name], "none") == WRAPPED[name]


@pytest.mark.parametrize(
    "mail",
    [
        message(),
        message(cte="quoted-printable"),
        message(cte="base64"),
        message(charset="cp1252"),
        with_html(),
        only_html(),
    ],
)
def test_of_a_whole_message_subject_and_body_are_left(mail: EmailMessage) -> None:
    for end in ("\n", "\r\n"):
        text = mail.as_bytes().decode("cp1252" if mail.get_content_charset() == "cp1252" else "utf-8")
        assert " ".join(cleaned(text.replace("\n", end), MAIL).split()) == f"Zu viel bezahlt: 49 € {OWN}"


@pytest.mark.parametrize(
    "text",
    [
        "My login fails: error <5> since 2 > 1, I think. Regards: Ann",
        "Note: it is late",
        "a = b =\nc",
        "https://shop.example/a?b=3D",
        "aGVsbG8",
        "ThisIsALongWordWithoutAnySpace",
        "--",
        "- one\n- two",
        "Order: 17\nColour: red\nIt never came.",
        "",
    ],
)
def test_a_text_that_is_no_mail_stays(text: str) -> None:
    assert cleaned(text, MAIL) == text


def test_a_forwarded_mail_with_a_word_keeps_both() -> None:
    text = cleaned(f"Please help her.\n\n---------- Forwarded message ---------\n{HEADERS}\n\n{OWN}", MAIL)
    assert "Please help her." in text
    assert OWN in text


PIECES = [
    "<div>",
    "</p>",
    "<blockquote>",
    ">",
    "> ",
    "\n",
    "=\n",
    "=41",
    "On ",
    " wrote:",
    "From: ",
    "-- \n",
    "&lt;",
    "é",
    "\0",
    "\ue0001\ue000",
    "Content-Type: multipart/mixed; boundary=a\n",
    "MIME-Version: 1.0\n",
    "\n--a\n",
    "QUJD",
    "<!--",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join))
def test_any_text_has_an_answer(text: str) -> None:
    assert isinstance(cleaned(text, MAIL), str)


WORST = {
    "quoted lines": lambda n: "> a\n" * (n // 4),
    "marks": lambda n: ">" * n,
    "blank lines": lambda n: "\n" * n + "x",
    "carriage returns": lambda n: "\r" * n,
    "introductions": lambda n: "On a\n" * (n // 5),
    "odd introductions": lambda n: ("2020/1/1 " + " <@" * 60 + "\n") * (n // 190),
    "headers": lambda n: "From: a\nSent: b\n" * (n // 16),
    "signatures": lambda n: "a\n-- \n" * (n // 6),
    "open divs": lambda n: "</p>" + "<div>" * (n // 5),
    "open divs with text": lambda n: "</p>" + "<div>x" * (n // 6),
    "formatting": lambda n: "</p>" + "<a><b><i><u>" * 20 + "<p>x" * (n // 4),
    "attributes": lambda n: "</p><p " + " ".join(f"a{i}=1" for i in range(n // 8)) + ">x",
    "angle brackets": lambda n: "</p>" + "<" * n,
    "comments": lambda n: "</p>" + "<!--" * (n // 4),
    "nested messages": lambda n: (
        "MIME-Version: 1.0\n"
        + "".join(f"Content-Type: multipart/mixed; boundary=a{i}\n\n--a{i}\n" for i in range(n // 50))
    ),
    "parts": lambda n: "Content-Type: multipart/mixed; boundary=x\n\n" + "--x\n\n" * (n // 5),
    "parameters": lambda n: "MIME-Version: 1.0\nContent-Type: text/plain; " + "a=b; " * (n // 5) + "\n\nx",
    "folded parameters": lambda n: (
        "MIME-Version: 1.0\nContent-Type: text/plain;" + "\n a=b;" * (n // 6) + "\n\nx"
    ),
    "subject": lambda n: "MIME-Version: 1.0\nSubject: " + "=?utf-8?q?a?= " * (n // 14) + "\n\nx",
    "soft breaks": lambda n: "=\n=41" * (n // 5),
    "base64": lambda n: ("QUJD" * 19 + "\n") * (n // 77),
}


@pytest.mark.parametrize(("parts", "left"), [(900, False), (1_100, True)])
def test_a_mail_of_more_parts_than_mails_have_is_left_as_it_is(parts: int, left: bool) -> None:
    mail = "Content-Type: multipart/mixed; boundary=x\n\n" + "--x\n\nA word.\n" * parts
    assert cleaned(mail, MAIL).startswith("Content-Type") == left


@pytest.mark.parametrize("name", WORST)
def test_a_megabyte_of_the_worst_kind_costs_linear_work(name: str) -> None:
    """Four times the text costs about four times the work; a quadratic one would cost 16 times and take minutes."""
    small, large = (_seconds(WORST[name](size)) for size in (250_000, 1_000_000))
    assert large < 10 * small + 1, (small, large)


def _seconds(text: str) -> float:
    began = thread_time()
    cleaned(text, MAIL)
    return thread_time() - began


def test_its_libraries_are_loaded_only_where_it_is_used() -> None:
    code = (
        "import sys, inferstream.pipeline.tasks.triage.loading as _\n"
        "assert not {'lxml', 'quotequail'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
