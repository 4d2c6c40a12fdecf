"""Escape invisible and control characters in text that a person or terminal will read."""

import re

# Control characters (C0, DEL, C1); what Unicode calls Default_Ignorable_Code_Point, zero-width and bidirectional ones among them,
# but for the variation selectors of emoji; line and paragraph separators; halves of surrogate pairs.
HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    r"\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    r"""The text as one line in which every hidden character is an escape as Python writes it: ``\n``, ``\x1b``, ``\u202e``."""
    return HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
