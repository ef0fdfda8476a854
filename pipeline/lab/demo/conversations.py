"""What is asked in the demo of an assistant: conversations of our own, for a model of 135 million parameters."""

from typing import Final, NamedTuple

SYSTEM: Final = (
    "You are a friendly assistant. Answer in two or three short sentences, in plain words. "
    "If you do not know something, say so."
)
"""All conversations begin with it, so a worker reads it once."""


class AssistantTalk(NamedTuple):
    """What one person asks; each question is asked when the answer to the one before is complete."""

    name: str
    questions: tuple[str, ...]


ASSISTANT_TALKS: Final = (
    AssistantTalk(
        "sky", ("Why is the sky blue?", "And why is it red in the evening?", "Is it so on Mars, too?")
    ),
    AssistantTalk("soup", ("How do I make a tomato soup?", "What can I serve with it?")),
    AssistantTalk(
        "parcel",
        (
            "My parcel has not arrived yet. What should I do?",
            "Thank you. How long should I wait before I write to the shop?",
        ),
    ),
    AssistantTalk("bees", ("Tell me three facts about bees.", "How do they find their way home?")),
    AssistantTalk(
        "sea",
        (
            "Write a short poem about the sea.",
            "Which animals live there?",
            "Why is its water salty?",
        ),
    ),
    AssistantTalk("trains", ("Why do people like to travel by train?", "Is a train slower than a plane?")),
    AssistantTalk("sleep", ("I cannot sleep at night. What can I try?", "Does warm milk really help?")),
    AssistantTalk("moon", ("What is the moon made of?", "Who was the first person on it?", "When was that?")),
)
