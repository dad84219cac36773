"""What looks like a secret in a text, and the text with it painted over."""

from __future__ import annotations

import re

LOOKS_SECRET = re.compile(
    r"""(?x)
    (?<![0-9a-zA-Z])(?:0x)?[0-9a-fA-F]{64}(?![0-9a-zA-Z])   # a private key
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                       # user:password@host
    | (?<=/v[1-9]/)[0-9a-zA-Z_-]{32,}                       # the key in a provider's URL
    """
)


def disguise(text: str) -> str:
    """Return the text with each part that looks like a secret replaced by as many `*`."""
    return LOOKS_SECRET.sub(lambda found: "*" * len(found[0]), text)
