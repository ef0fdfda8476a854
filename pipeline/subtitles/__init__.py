"""Subtitles and texts that are translated in place: all but the words stays as it is in the file.

Pure: no model, no queue. It begins with `script.Script`.
"""
