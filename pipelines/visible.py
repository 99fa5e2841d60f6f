"""Hostile text made visible: nothing in it can hide, turn lines round or steer a terminal."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with line ends, control and bidi characters spelled out as in Python."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
