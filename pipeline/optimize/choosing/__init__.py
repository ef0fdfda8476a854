"""`models choose`: what the models on this machine offer, and the fastest that keeps some limits."""
