"""What `models pull` and `models import` do: published files become the variants of a model on this machine."""
