"""Makes smaller and faster variants of models, and measures what they keep.

`pull` makes variants of what is published and `derived` of what is here, with the numbers of `compression`; `closeness`
compares them when they are built. `triage` fits heads and tiers to tickets. `evaluation` measures a model as it is
served, and judges; `choosing` compares the figures. `recipes` does all of it step by step.
"""
