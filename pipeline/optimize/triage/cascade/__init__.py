"""The tiers of a fitted model together: a cascade, or an ensemble."""
