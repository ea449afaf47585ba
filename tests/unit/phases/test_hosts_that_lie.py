"""What one host says becomes paths and commands on others: it has to be what it claims to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aideploy.errors import ExitStatus, HostNotReady
from aideploy.jobs import gang
from aideploy.phases import fetch, image, train
from aideploy.remote.result import Result

OUTSIDE = "x/../../../../home/deploy"
IMAGE = "registry.example:5000/team/ranker:1.4"
DIGEST = "sha256:" + "a" * 64
FETCHED = {
    "commit": "a" * 40,
    "tree": "b" * 40,
    "release": "20260101T000000Z-aaaaaaa",
}
GANG = {"job": "a" * 16, "inputs": "b" * 64, "gang": "0123456789abcdef 2 10.0.0.1 29500"}


def pulled(result: Result) -> image.Image:
    return image.read(result, IMAGE)


@pytest.mark.parametrize(
    ("read", "honest", "key", "lie"),
    [
        (fetch.read, FETCHED, "release", f"20260101T000000Z-{OUTSIDE}"),
        (fetch.read, FETCHED, "commit", "main"),
        (fetch.read, FETCHED, "tree", ""),
        (train.read_kept, {"model": "c" * 64}, "model", OUTSIDE),
        (train.read_kept, {"model": "c" * 64}, "model", "c" * 64 + "\n"),
        (gang.read, GANG, "job", OUTSIDE),
        (gang.read, GANG, "inputs", "$(reboot)"),
        (gang.read, GANG, "gang", "0123456789abcdef 2 10.0.0.1 29500\nmore"),
        (pulled, {"image": DIGEST}, "image", "--help"),
        (pulled, {"image": DIGEST}, "pin", f"evil.example/ranker@{DIGEST}"),
    ],
)
def test_a_host_that_lies_harms_no_other(
    read: Callable[[Result], Any], honest: dict[str, str], key: str, lie: str
) -> None:
    assert read(Result("script", tuple(honest.items()), host="h1")) is not None
    with pytest.raises(
        HostNotReady, match=f"^h1 says something that cannot be: its {key} is"
    ) as no:
        read(Result("script", tuple({**honest, key: lie}.items()), host="h1"))
    assert no.value.status == ExitStatus.NOT_READY


@pytest.mark.parametrize(
    ("name", "pin"),
    [
        (IMAGE, f"registry.example:5000/team/ranker@{DIGEST}"),
        (f"ranker@{DIGEST}", f"ranker@{DIGEST}"),
        ("ranker:1.4", f"ranker@{DIGEST}"),
    ],
)
def test_an_image_is_known_by_its_digest(name: str, pin: str) -> None:
    result = Result("script", (("image", DIGEST), ("pin", pin)), host="h1")
    assert image.read(result, name) == image.Image(DIGEST, pin)
