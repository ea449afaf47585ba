"""The Python programs that the hosts run, as texts: real .py files in aideploy/scripts.

Pure. As with scripts, libraries stand in front of a program; the host gets one text and no file.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

_FUTURE = "from __future__ import annotations\n"
# It may stand in a release, whose own modules may be called like those of the library.
_NOT_FROM_HERE = "import sys\nsys.path[:] = [place for place in sys.path if place]\n"


@cache
def program(name: str, *libraries: str) -> str:
    """Return the text of `scripts/<name>.py` with these libraries in front of it."""
    folder = resources.files("aideploy.scripts")
    texts = [
        folder.joinpath(f"{each}.py").read_text(encoding="utf-8") for each in (*libraries, name)
    ]
    # Python wants it once, before everything else.
    return _FUTURE + _NOT_FROM_HERE + "\n".join(text.replace(_FUTURE, "", 1) for text in texts)


@cache
def loaded(*modules: str) -> str:
    """Return a program of modules that import each other, as `aideploy.scripts.NAME`.

    Args:
        modules: their names, each behind those that it imports; the last has `main`, which gets the
            words behind the program and returns the exit status.
    """
    folder = resources.files("aideploy.scripts")

    def text(name: str) -> str:
        return folder.joinpath(f"{name}.py").read_text(encoding="utf-8")

    loads = [f"load('aideploy.scripts.{name}', {text(name)!r})\n" for name in modules]
    loads[-1] = f"sys.exit({loads[-1].rstrip()}.main(sys.argv[1:]))\n"
    return "".join([text("loader"), *loads])
