"""The distribute phase: the model from the host that has it to the hosts that serve.

Pure: which scripts to run and what their answers mean. A small model travels inside a script, a
larger one as a stream (see scripts/models.py, which both ends of it run).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aideploy.phases.facts import HostFacts
from aideploy.phases.programs import program
from aideploy.remote.result import Result
from aideploy.remote.script import Script

INLINE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Artifact:
    """A model as the host that has it describes it.

    Args:
        archive: a small model whole, a compressed tar as base64; empty for a larger one.
        contents: what a larger model holds, as JSON of models.py.
        size: of a larger model, in bytes, roughly.
    """

    archive: str = field(default="", repr=False)
    contents: str = field(default="", repr=False)
    size: int = 0


@dataclass(frozen=True)
class Stock:
    """How much of a model a host has.

    Args:
        words: what to say of it: the model is there, whole and verified. Empty if it is not.
        damaged: why the one that was there cannot be used; empty if it can, or there was none.
        have: how many bytes of the stream need not be sent.
        size: of the whole stream in bytes.
    """

    words: str = ""
    damaged: str = ""
    have: int = 0
    size: int = 0

    @property
    def is_whole(self) -> bool:
        return bool(self.words)


def read_model(facts: HostFacts, model: str) -> Script:
    """Return the script with which a host describes a model, or hands over a small one."""
    words = (str(facts.root), model, facts.python, program("models"), str(INLINE_BYTES))
    return Script("read_model", words)


def artifact(result: Result) -> Artifact:
    """Make a typed answer of what the script of `read_model` emitted."""
    return Artifact(
        result.text("archive"),
        result.data("contents").decode("utf-8", "replace"),
        result.number("bytes"),
    )


def write_model(facts: HostFacts, model: str, artifact: Artifact) -> Script:
    """Return the script that verifies a model, puts a small one on the host, or makes it ready.

    Args:
        facts: of the host.
        model: the sha256 over its files.
        artifact: the model; an empty one where it should be there already.
    """
    words = (
        str(facts.root),
        model,
        facts.python,
        program("models"),
        artifact.archive,
        artifact.contents,
    )
    return Script("write_model", words, libraries=("release",))


def publish_model(facts: HostFacts, model: str) -> Script:
    """Return the script that puts a model in its place that has arrived as a stream."""
    return Script("publish_model", (str(facts.root), model), libraries=("release",))


def stock(result: Result) -> Stock:
    """Make a typed answer of what the script of `write_model` or `publish_model` emitted."""
    return Stock(
        words=result.text("whole"),
        damaged=result.text("damaged"),
        have=result.number("have"),
        size=result.number("bytes"),
    )


def send_stream(facts: HostFacts, model: str, offset: int) -> Script:
    """Return the script that writes the bytes of a model, from this offset on, to its output."""
    folder = facts.root / "models" / model
    return Script(
        "stream", (facts.python, "-I", "-c", program("models"), "send", str(folder), str(offset))
    )


def take_stream(facts: HostFacts, model: str, offset: int) -> Script:
    """Return the script that takes the bytes of a model, from this offset on, from its input."""
    folder = facts.root / "models" / f".incoming-{model}"
    return Script(
        "stream", (facts.python, "-I", "-c", program("models"), "receive", str(folder), str(offset))
    )
