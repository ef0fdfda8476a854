"""The settings of the task `triage`."""

from msgspec import Struct

from ...config import Share, Size, Text


class TriageSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Classification of tickets.

    Attributes:
        model: the model that answers requests which name none.
        models: further models, as ["shop", "returns"]; fitted models also by shell patterns, as ["acme-*"].
        tenants: by tenant, the model that answers its requests which name none, as {acme = "acme-tickets"}.
        fitted_bytes: memory for the weights of fitted models: of more, those used last stay, others are read again.
        taxonomy: TOML file with categories, descriptions, examples and routes; the built-in example without it.
        shadow: of a model with two tiers: the share of the texts for which both are asked, and their answers compared.
        threshold: tickets with a lower confidence need a human; the default is in the taxonomy.
    """

    model: Text = "minilm-int8"
    taxonomy: Text | None = None
    threshold: Share | None = None
    shadow: Share = 0.02
    models: tuple[Text, ...] = ()
    tenants: dict[Text, Text] = {}
    fitted_bytes: Size = 256_000_000
