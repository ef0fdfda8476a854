"""The task `translate`: a text in another language, by any translator."""
