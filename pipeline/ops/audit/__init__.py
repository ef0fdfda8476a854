"""Judges delivery from what stands in the topics alone: did every request end exactly once, in the order of its key?"""
