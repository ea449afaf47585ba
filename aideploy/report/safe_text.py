"""Makes text that came from elsewhere harmless before it is shown or kept.

Called by every reader for everything that a host, a program or a person wrote: escape sequences
that move the cursor or change the terminal, characters that reverse the reading order, and lines
without an end must never reach a terminal. It only works on strings.
"""

from __future__ import annotations

import re

LINE_LIMIT = 1000
"""As many characters of one line are shown; the log file keeps all of them."""

_INVISIBLE = (
    range(0x00, 0x09),  # control characters up to the tab, which stays
    range(0x0A, 0x20),
    range(0x7F, 0xA0),  # delete and the C1 controls, among them a one-character CSI
    range(0xAD, 0xAE),  # soft hyphen
    range(0x061C, 0x061D),  # Arabic letter mark
    range(0x200B, 0x200C),  # zero width space
    range(0x200E, 0x2010),  # left-to-right and right-to-left marks
    range(0x2028, 0x202F),  # line and paragraph separators, bidi embeddings and overrides
    range(0x2060, 0x2070),  # invisible operators, bidi isolates
    range(0xD800, 0xE000),  # lone surrogates, which cannot be encoded
    range(0xFEFF, 0xFF00),  # byte order mark
    range(0xFFF9, 0xFFFC),  # interlinear annotation
    range(0xE0000, 0xE0080),  # tags: an invisible copy of ASCII
)


def _escape(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


_ESCAPES = {code: _escape(code) for span in _INVISIBLE for code in span}

# ECMA-48 sequences: CSI; OSC, DCS, SOS, PM and APC with their terminator; two-character escapes.
# Possessive and without overlap, so that no input makes it slow.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*+[0-OQ-WYZ\\`-~]"
)


def visible(text: str) -> str:
    """Every control or invisible character written out (`\\x1b`), tabs left: nothing is lost."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def harmless(text: str) -> str:
    """One line as a person would have seen it: no colours, the last state of a progress bar.

    What follows the last carriage return counts, as on a terminal. Escape sequences go, other
    invisible characters are written out, tabs become spaces, and the rest after `LINE_LIMIT`
    characters becomes an ellipsis.
    """
    if text.isprintable() and len(text) <= LINE_LIMIT:
        return text
    shown = text.rstrip("\r").rpartition("\r")[2]
    shown = visible(_SEQUENCE.sub("", shown[: 4 * LINE_LIMIT])).expandtabs()
    if len(shown) <= LINE_LIMIT and len(text) <= 4 * LINE_LIMIT:
        return shown
    return shown[: LINE_LIMIT - 1] + "…"


def harmless_lines(text: str) -> list[str]:
    """The lines of a text of several lines, each harmless; the empty ones at the end are left out.

    Text without any line gives an empty list.
    """
    return [harmless(line) for line in text.rstrip().split("\n")] if text.strip() else []


def first_line(text: str) -> str:
    """The first line that says something, harmless."""
    return harmless(text.strip().partition("\n")[0])


def kept(line: str) -> str:
    """The line itself if it is short enough to be remembered, otherwise what would be shown."""
    return line if len(line) <= LINE_LIMIT else harmless(line)
