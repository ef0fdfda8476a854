"""What is spoken in the demo of captions: talks and dialogs of our own."""

from collections.abc import Iterator
from typing import Final, NamedTuple


class Talk(NamedTuple):
    """One speaker, or several who take turns; each segment is what is said in one breath."""

    name: str
    source: str
    target: str
    segments: tuple[str, ...]


class HeardWords(NamedTuple):
    """What is known of a segment after some of its words were spoken; ``words`` of them since the last time."""

    text: str
    words: int
    final: bool


WORDS_A_PARTIAL: Final = 3


def spoken(segment: str) -> Iterator[HeardWords]:
    """A segment as a recognizer of speech tells it: partials that grow, then the whole with its full stop."""
    words = segment.split()
    for count in range(WORDS_A_PARTIAL, len(words), WORDS_A_PARTIAL):
        yield HeardWords(" ".join(words[:count]), WORDS_A_PARTIAL, False)
    yield HeardWords(segment, (len(words) - 1) % WORDS_A_PARTIAL + 1, True)


TALKS: Final = (
    Talk(
        "bees",
        "en",
        "pt",
        (
            "Good morning, and thank you for coming so early.",
            "Today I want to tell you how a swarm of bees finds a new home.",
            "In spring the old queen leaves with half of her family.",
            "They hang on a branch, and nobody among them knows where to go.",
            "So a few hundred scouts fly out and look for a hollow tree.",
            "Each scout that finds one comes back and dances for the others.",
            "The better the place, the longer she dances.",
            "After a day or two almost all of them dance for the same tree.",
            "Then the whole swarm takes off, and within minutes the branch is empty.",
        ),
    ),
    Talk(
        "call",
        "en",
        "pt",
        (
            "Hello, you are speaking with the customer service.",
            "Hi, I think I was charged twice for my order last week.",
            "I am sorry to hear that, may I have the number of your order?",
            "Yes, of course, it is 48 213.",
            "Thank you, I can see two payments of 39 euros on the same day.",
            "Exactly, and I only bought one lamp.",
            "I will send the second payment back to your card today.",
            "It may take three days until you see it in your account.",
            "That is fine, thank you very much for your help.",
            "You are welcome, have a nice day.",
        ),
    ),
    Talk(
        "kitchen",
        "en",
        "pt",
        (
            "Welcome back to my kitchen, where it smells of garlic already.",
            "We need four tomatoes, an onion, and a handful of fresh basil.",
            "First cut the onion as small as you can, and try not to cry.",
            "Heat some olive oil in a large pan, but do not let it smoke.",
            "Now add the onion and wait until it becomes soft and sweet.",
            "The tomatoes come next, with a little salt and a spoon of sugar.",
            "Let everything cook for twenty minutes while you boil the pasta.",
            "And please keep a cup of the water, because it makes the sauce creamy.",
            "Taste it before you serve it, that is the best part.",
        ),
    ),
    Talk(
        "night train",
        "en",
        "pt",
        (
            "Excuse me, is this seat free?",
            "Yes, please sit down, I will move my bag.",
            "Are you going all the way to Lisbon as well?",
            "No, I get off in Madrid, my sister lives there.",
            "How wonderful, I have not been there for ten years.",
            "You should come in autumn, when the summer heat is over.",
            "Did you hear what they said about the delay?",
            "I think we will arrive forty minutes late because of the snow.",
            "Well, then we have enough time for a coffee.",
            "Good idea, the dining car should be at the front of the train.",
        ),
    ),
    Talk(
        "céu",
        "pt",
        "en",
        (
            "Boa noite a todos, e obrigado por terem vindo apesar do frio.",
            "Hoje o céu está limpo e podemos ver o planeta Júpiter.",
            "Ele é aquela luz muito forte, ali por cima das árvores.",
            "Com o telescópio vemos também quatro das suas luas.",
            "Galileu descobriu essas luas há mais de quatrocentos anos.",
            "Ele reparou que mudavam de lugar de uma noite para a outra.",
            "Foi assim que percebeu que nem tudo gira em volta da Terra.",
            "Agora podem vir um de cada vez e olhar com calma.",
            "Se tiverem perguntas, estou aqui até à meia-noite.",
        ),
    ),
)
