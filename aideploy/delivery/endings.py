"""How a deploy ends when a phase fails before anything was switched.

Called by `story` and by the commands that share its phases. From what hosts and scripts say it
decides whose fault it was, and so which exit status there is (docs/design.md section 8).
"""

from __future__ import annotations

from aideploy.errors import (
    AideployError,
    ExitStatus,
    HostNotReady,
    Locked,
    PhaseFailed,
    Refused,
    UsageError,
)
from aideploy.events import Phase
from aideploy.remote.fleet import FleetError
from aideploy.remote.result import ScriptFailed

# What a script says when the host, not the release, is the reason; otherwise the release failed.
_HOST_CODES = frozenset(
    [
        "no-space",
        "no-access",
        "no-repository",
        "no-python",
        "no-uv",
        "no-venv",
        "not-set-up",
        "no-sudo",
        "no-linked-file",
        "no-haproxy",
        "no-runtime",
        "damaged",
        "no-engine",
        "no-gpu",
        "not-started",
        "job-lost",
        "no-fsspec",
        "source-closed",
        "source-down",
    ]
)
_USAGE_CODES = frozenset(
    ["no-revision", "no-source", "no-subdirectory", "no-inputs", "no-job", "bad-golden", "own-name"]
)
_LOCKED_CODES = frozenset(["job-busy"])
# Where the release was judged, no traffic has come near it.
_REFUSALS = frozenset(
    [
        (Phase.MODEL, "model-refused"),
        (Phase.DISTRIBUTE, "model-refused"),
        (Phase.STAGE, "unhealthy"),
        (Phase.STAGE, "golden"),
    ]
)


class ReleaseFailed(PhaseFailed):
    """The release failed before anything was switched; every host serves what it served."""

    status = ExitStatus.ROLLED_BACK


def judged(error: FleetError) -> AideployError:
    """Return the error with the class, and so the exit status, that its causes call for."""
    kind: type[AideployError] = ReleaseFailed
    next_step = error.next_step
    codes = {cause.code for cause in error.causes if isinstance(cause, ScriptFailed)}
    if error.phase == Phase.OPEN:
        # Nothing of the release has been seen yet.
        kind = HostNotReady
    elif error.phase in (Phase.MODEL, Phase.DISTRIBUTE) and "timeout" in codes:
        # The line to the model's source is slow, not the release.
        kind = HostNotReady
    if any(isinstance(cause, Locked) for cause in error.causes) or codes & _LOCKED_CODES:
        kind = Locked
    elif any(isinstance(cause, HostNotReady) for cause in error.causes) or codes & _HOST_CODES:
        kind = HostNotReady
    elif codes & _USAGE_CODES or any(isinstance(cause, UsageError) for cause in error.causes):
        kind = UsageError
    elif _refused(error, codes):
        kind = Refused
    return kind(
        _headline(error),
        next_step=next_step,
        phase=error.phase,
        causes=error.causes,
    )


def _refused(error: FleetError, codes: set[str]) -> bool:
    """Whether a gate said no, and nothing else went wrong."""
    said = any((error.phase, code) in _REFUSALS for code in codes)
    return said or any(isinstance(cause, Refused) for cause in error.causes)


def _headline(error: FleetError) -> str:
    names = [cause.host for cause in error.causes if cause.host]
    if not names:
        return f"{error.what}; nothing was switched"
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{error.phase} failed on {who}; nothing was switched"
