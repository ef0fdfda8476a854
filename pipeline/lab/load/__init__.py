"""Load: when requests are sent, and what they say."""
