"""What callers ask in their conversations: few scripts, so that equal requests come again and again."""

import random
from typing import Any, Final, NamedTuple

SCRIPTS: Final = 12
TURNS: Final = (2, 4)
TOKENS: Final = (12, 40)
SYSTEM: Final = "You are the support desk of a shop. Answer in one or two short sentences."
QUESTIONS: Final = (
    "My parcel has not come yet. What can I do?",
    "The camera is offline again, and I have restarted it twice.",
    "How do I change the address on my invoice?",
    "I was charged twice in March. Do I get my money back?",
    "Which battery fits, and how long does it last?",
    "Can I cancel my subscription before the end of the year?",
    "The app crashes on start. Is that known?",
    "What does that cost?",
    "Thank you. Is there anything else that I should know?",
)

Messages = list[dict[str, str]]


class CallScript(NamedTuple):
    """The questions of one conversation, and the options of each of its requests."""

    questions: tuple[str, ...]
    options: dict[str, Any]


def scripts(seed: int) -> list[CallScript]:
    """Half of them are greedy, half have a seed of their own."""
    rng = random.Random(f"{seed}/scripts")
    made = []
    for number in range(SCRIPTS):
        options: dict[str, Any] = {"max_tokens": rng.randint(*TOKENS)}
        if number % 2:
            options |= {"temperature": 0.8, "top_p": 0.95, "seed": rng.randrange(1_000)}
        made.append(CallScript(tuple(rng.sample(QUESTIONS, rng.randint(*TURNS))), options))
    return made
