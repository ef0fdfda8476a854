"""Strips from a mail all but what its sender wrote: transfer encodings, HTML, quoted mails, signatures."""
