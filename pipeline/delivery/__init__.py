"""Answers the records of a request topic: every request ends in exactly one terminal event."""
