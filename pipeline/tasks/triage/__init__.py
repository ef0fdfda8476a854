"""The task `triage`: the category, priority and route of a support ticket, and whether it needs a human."""
