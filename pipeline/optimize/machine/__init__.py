"""The machine that figures hold for."""
