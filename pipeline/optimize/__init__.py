"""Makes models smaller and faster, and measures what that costs in accuracy."""
