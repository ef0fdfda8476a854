"""Writes 200 example tickets plain, as HTML mails, and above quoted lines: the files of a table in docs/triage.md.

python -m benchmarks.wrapped_mails FOLDER
inferstream triage evaluate FOLDER/html.jsonl --taxonomy examples/taxonomy.toml --clean mail
"""

import json
import sys
from html import escape
from pathlib import Path

TICKETS = Path(__file__).parents[1] / "examples" / "tickets.jsonl"
ROWS = 200
MAX_CHARACTERS = 250
INTRODUCTION = "On Mon, 3 Feb 2025 at 10:12, Shop <help@shop.example> wrote:"
QUOTED = [
    f"> Thank you for your order. Here is line {n} about delivery, returns and your account."
    for n in range(20)
]


def as_html(text: str) -> str:
    """The text above one quoted paragraph."""
    quote = "Thank you for your order. Download our app and rate the delivery of your parcel."
    quoted = f'<div class="gmail_quote">{escape(INTRODUCTION)}<br><blockquote>{quote}</blockquote></div>'
    return f"<html><body><div>{escape(text)}</div>{quoted}</body></html>"


def above_quotes(text: str) -> str:
    return "\n".join([text, "", INTRODUCTION, *QUOTED])


def main(folder: Path) -> None:
    tickets = [json.loads(line) for line in TICKETS.read_text("utf-8").splitlines()]
    short = [ticket for ticket in tickets if len(ticket["text"]) < MAX_CHARACTERS][:ROWS]
    folder.mkdir(parents=True, exist_ok=True)
    for name, wrap in {"plain": str, "html": as_html, "quoted": above_quotes}.items():
        rows = [{"text": wrap(ticket["text"]), "label": ticket["expected"]} for ticket in short]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
