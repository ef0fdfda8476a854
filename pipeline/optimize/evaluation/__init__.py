"""How good a variant is beside its original: what is measured, and the gate that judges it."""
