"""Commands that a person is told to type: for the environment that they are about.

Whoever says what to type next says `fab deploy`. Where that would mean another environment of
hosts.toml, or none, the environment is put in here: a person may type what stands there.
"""

from __future__ import annotations

import re
import shlex

from aideploy.settings import Settings

# Those that know no --env: they work on this machine, or say it themselves.
_COMMAND = re.compile(
    r"(?<![\w./-])fab (?!init\b|schema\b|sandbox\.)"
    r"[a-z]\w*(?:\.[a-z]\w*)?(?![\w=])(?! --env\b)"
)


def typed(text: str, settings: Settings) -> str:
    """Return the text with `--env` in each of its commands, where they need it.

    Args:
        text: what to do next, with commands or without.
        settings: of the environment that it is about.
    """
    if settings.environment_by_default:
        return text
    option = f" --env {shlex.quote(settings.environment)}"
    return _COMMAND.sub(lambda command: command[0] + option, text)
