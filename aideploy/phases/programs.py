"""The Python programs that the hosts run, as texts: real .py files in aideploy/scripts.

Pure. As with scripts, libraries stand in front of a program; the host gets one text and no file.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

_FUTURE = "from __future__ import annotations\n"


@cache
def program(name: str, *libraries: str) -> str:
    """Return the text of `scripts/<name>.py` with these libraries in front of it."""
    folder = resources.files("aideploy.scripts")
    texts = [
        folder.joinpath(f"{each}.py").read_text(encoding="utf-8") for each in (*libraries, name)
    ]
    # Python wants it once, before everything else.
    return _FUTURE + "\n".join(text.replace(_FUTURE, "", 1) for text in texts)
