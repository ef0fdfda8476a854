"""How close a variant is to its original when it is built, on the sentences that inferstream ships."""
