"""A classifier from descriptions alone: no labeled tickets, no fitting."""

import numpy as np

from ...runtime.model import Model
from ..pooling import Tokenizes, embed, unit
from .classifier import Classifier
from .taxonomy import Taxonomy


def zero_shot(taxonomy: Taxonomy, tokenizer: Tokenizes, session: Model) -> Classifier:
    """Compare by cosine with the mean direction of each category's phrases: its description and its examples.

    The description is read behind the category's name, so that the name counts as well.
    """
    texts: list[str] = []
    starts: list[int] = []
    for name, rule in taxonomy.categories.items():
        starts.append(len(texts))
        texts += [f"{name.replace('_', ' ')}: {rule.description}", *rule.examples]
    vectors = embed(texts, tokenizer, session)
    directions = unit(np.add.reduceat(vectors, starts, axis=0))
    return Classifier(
        labels=tuple(taxonomy.categories),
        weights=np.ascontiguousarray(directions.T),
        bias=np.zeros(len(starts), np.float32),
        temperature=taxonomy.temperature,
        digest=taxonomy.digest,
    )
