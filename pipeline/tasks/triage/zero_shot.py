"""A classifier from the descriptions in a taxonomy, without labeled tickets."""

import numpy as np

from ...runtime.graph import Graph
from ..pooling import Tokenizes, embed, unit
from .classifier import Classifier
from .taxonomy import Taxonomy


def zero_shot(taxonomy: Taxonomy, tokenizer: Tokenizes, session: Graph) -> Classifier:
    """Scores are cosines to the mean direction of a category's phrases: its description and its
    examples.

    The category's name is put before its description, so that the name counts too.
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
