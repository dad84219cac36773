"""What is or looks like a secret in a text, and the text with it painted over."""

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


# Hashes and ids have the form of a private key and are public.
PUBLIC_NAME = re.compile(r"(?:^|_)(?:hash|id|topic|root|digest|sha256)$")

HIDDEN = "***"
MIN_LENGTH = 4
"""A shorter text occurs by chance everywhere, and is no secret worth the name."""

_resolved: set[str] = set()


def remember(secret: str) -> None:
    """Note a secret that this process has read, so that `without_secrets` knows it; each long line of it too."""
    _resolved.update(part for part in (secret, *secret.splitlines()) if len(part) >= MIN_LENGTH)


def without_secrets(text: str) -> str:
    """Return the text with every secret that this process has read replaced by `***`."""
    for secret in sorted(_resolved, key=lambda each: (-len(each), each)):
        text = text.replace(secret, HIDDEN)
    return text


def disguise(text: str) -> str:
    """Return the text with each part that looks like a secret replaced by as many `*`."""
    return LOOKS_SECRET.sub(lambda found: "*" * len(found[0]), text)
