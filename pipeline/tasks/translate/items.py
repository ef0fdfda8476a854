"""Finds what must survive a translation as it is: links, addresses, code, markup, signs that the model cannot read."""

import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from itertools import groupby
from typing import Final, NamedTuple

LONGEST_WORD: Final = 200
"""A longer word is data, no language: it is kept, and never given to the model."""


class ItemKind(Enum):
    """What an item is for the sentence around it."""

    WORD = "word"  # takes the place of a word: a link, a name
    OPEN = "open"  # stands before a word: <b>
    CLOSE = "close"  # stands behind a word: </b>
    POINT = "point"  # stands between two words: an emoji
    SPACE = "space"  # stands for the space between two words: a line break, a tab


class Item(NamedTuple):
    """A part of a text, from ``start`` to ``end``, that is kept as ``text``.

    ``foreign``: it is a word with letters that the model does not know.
    """

    start: int
    end: int
    kind: ItemKind
    text: str
    foreign: bool = False


# Each alternative runs at most to the next sign that begins one: the search takes linear time.
MARKUP: Final = re.compile(
    r"(?P<tag></?[A-Za-z][^<>\n]*>|<!--[^<>\n]*-->)"
    r"|(?P<formula>\w{1,40}(?:<su(?P<bp>[bp])>\w{1,40}</su(?P=bp)>\w{0,40})+)"
    r"|(?P<override>\{\\[^{}\n]*\})"
    r"|(?P<field>\{\{[^{}\n]*\}\}|<%[^<>\n]*%>|\{[^{}\s]+\}|`[^`\n]+`)"
    r"|(?P<open>(?<![\w*~])(?:\*{1,3}|~~|_{1,3})(?=[^\s*~_]))"
    r"|(?P<close>(?<=[^\s*~_])(?:\*{1,3}|~~|_{1,3})(?![\w*~]))"
    r"|(?P<space>[^\S ]\s*| \s+)"
    r"|(?P<entity>(?<!\w)&(?!amp;)#?\w{1,10};|&(?!amp;)#?\w{1,10};(?!\w))"
    r"|(?P<word>(?:[^\s<>{}`*~_&]|_(?=\w)|&(?!(?!amp;)#?\w{1,10};(?!\w)))+)"
    r"|(?P<sign>(?P<one>[<>{}`~])(?P=one)*(?![A-Za-z/!\\])|[<>{}`~])"
)
PLAIN: Final = re.compile(r"[A-Za-z0-9,;:!?'\"()-]+(?:\.+[\"')]*)?")
BREAKS: Final = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|td|th|table|h[1-6]|hr|blockquote)\b", re.IGNORECASE)
FILE: Final = re.compile(
    r"[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io|info|eu|br|pt|uk|co|app|dev"
    r"|pdf|docx?|xlsx?|pptx?|txt|csv|zip|png|jpe?g|gif|svg|mp[34]|py|js|html?|json|toml|ya?ml|xml|sql|exe|srt|vtt)"
)
LINE_BREAKS: Final = ("{\\N}", "{\\n}")
KINDS: Final = {
    "field": ItemKind.WORD,
    "formula": ItemKind.WORD,
    "open": ItemKind.OPEN,
    "close": ItemKind.CLOSE,
    "entity": ItemKind.POINT,
    "space": ItemKind.SPACE,
}
PATHS: Final = ("/", "./", "../", "~/", "--")
AROUND: Final = "([{\"'.,;:!?)]}\u201c\u201d\u2018\u2019\u00ab\u00bb\u00bf\u00a1\u2026"


def items_of(text: str, is_known: Callable[[str], bool]) -> Iterator[Item]:
    """The items of ``text``, in order. ``is_known``: whether the model can read a character."""
    for found in MARKUP.finditer(text):
        start, end = found.span()
        match found.lastgroup:
            case "word":
                if end - start > LONGEST_WORD or not PLAIN.fullmatch(text, start, end):
                    yield from _of_word(text[start:end], start, is_known)
            case "tag":
                yield _tag(found[0], start, end)
            case "override":
                yield Item(
                    start, end, ItemKind.SPACE if found[0] in LINE_BREAKS else ItemKind.POINT, found[0]
                )
            case "sign":
                if not is_known(text[start]):
                    yield Item(start, end, ItemKind.POINT, found[0])
            case group:
                yield Item(start, end, KINDS[str(group)], found[0])


def _tag(tag: str, start: int, end: int) -> Item:
    if "@" in tag or tag.startswith(("<http:", "<https:")):
        return Item(start, end, ItemKind.WORD, tag)
    if tag.startswith("<!") or tag.endswith("/>") or BREAKS.match(tag):
        return Item(start, end, ItemKind.POINT, tag)
    return Item(start, end, ItemKind.CLOSE if tag[1] == "/" else ItemKind.OPEN, tag)


def _of_word(word: str, at: int, is_known: Callable[[str], bool]) -> Iterator[Item]:
    """The items in a run of other signs than spaces and markup, which begins at ``at``."""
    core = word.strip(AROUND)
    if len(core) > LONGEST_WORD or _is_data(core):
        start = at + word.index(core)
        yield Item(start, start + len(core), ItemKind.WORD, core)
        return
    unknown = [not is_known(char) for char in word]
    if not any(unknown):
        return
    first, last = 0, len(word)
    while first < last and (unknown[first] or word[first] in AROUND) and not word[first].isalnum():
        first += 1
    while first < last and (unknown[last - 1] or word[last - 1] in AROUND) and not word[last - 1].isalnum():
        last -= 1
    yield from _signs(word, at, unknown, range(first))
    if any(unknown[first:last]):
        letters = any(one and char.isalpha() for one, char in zip(unknown, word, strict=True))
        yield Item(at + first, at + last, ItemKind.WORD, word[first:last], foreign=letters)
    yield from _signs(word, at, unknown, range(last, len(word)))


def _signs(word: str, at: int, unknown: Sequence[bool], among: range) -> Iterator[Item]:
    """The unknown ones among the letters of a word; those that touch are one item."""
    for is_unknown, found in groupby(among, key=lambda place: unknown[place]):
        if is_unknown:
            places = list(found)
            first, end = places[0], places[-1] + 1
            yield Item(at + first, at + end, ItemKind.POINT, word[first:end])


def _is_data(word: str) -> bool:
    """Whether it is a link, an address, a path, a file, a name of a program, a tag."""
    if "://" in word or "@" in word or "\\" in word or "_" in word or "=" in word.strip("="):
        return True
    if word.startswith(("www.", "#", *PATHS)):
        return any(map(str.isalnum, word))
    slashes = word.count("/")
    return (slashes > 1 and not word.replace("/", "").isdecimal()) or FILE.fullmatch(word) is not None
