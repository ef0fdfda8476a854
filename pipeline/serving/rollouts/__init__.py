"""Watches rollouts: joins the figures of all workers, and rolls a candidate back that is worse than its limits."""
