"""Models on disk: where they come from, what they are, and where they are kept."""
