"""Rollouts under load: a candidate with a fault beside a stable version, on devices that only sleep."""
