"""Stands in for the metrics of sacrebleu where that is not installed."""

from typing import NamedTuple


class OverlapScore(NamedTuple):
    score: float


class WordOverlap:
    """The share of the words that a translation and its reference have both."""

    def corpus_score(self, lines: list[str], references: list[list[str]]) -> OverlapScore:
        pairs = [
            (set(one.split()), set(other.split())) for one, other in zip(lines, references[0], strict=True)
        ]
        equal = sum(len(one & other) for one, other in pairs)
        return OverlapScore(100 * equal / max(1, sum(len(one | other) for one, other in pairs)))
