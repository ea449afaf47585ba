"""The program that puts golden requests to a service, against services of all kinds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aideploy.phases import golden
from aideploy.settings.golden import Golden
from tests.web_server import Answer, Asked, WebServer, answering

Behave = Callable[[int, Any], tuple[int, object]]


@pytest.fixture
def serve() -> Iterator[Callable[[Behave], int]]:
    """Serve what this function makes of the number of the request and its body; give the port."""
    with ExitStack() as stack:

        def start(behave: Behave) -> int:
            asked = iter(range(1_000_000))

            def answer(request: Asked) -> Answer:
                status, said = behave(next(asked), json.loads(request.body))
                return Answer(
                    said if isinstance(said, bytes) else json.dumps(said).encode(), status
                )

            return stack.enter_context(WebServer(answering(answer))).port

        yield start


def prove(
    tmp_path: Path, port: int, *lines: Mapping[str, object], pid: int | None = None, **table: object
) -> tuple[int, list[str]]:
    """Run the program as a host would, and return its exit status and what it printed."""
    file = tmp_path / "golden.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines or DOUBLES))
    settings = Golden.model_validate({"file": file.name, **table})
    program, request, _ = golden.proof(settings, "127.0.0.1", port)
    done = subprocess.run(
        [sys.executable, "-c", program, "prove", request, str(file), str(pid or os.getpid())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


DOUBLES = tuple({"request": n, "expected": {"double": 2 * n}} for n in range(1, 9))


def doubling(_: int, number: Any) -> tuple[int, object]:
    return 200, {"double": 2 * number}


def test_right_answers_are_measured_for_the_log_and_summed_up_in_the_last_line(
    serve: Callable[[Behave], int], tmp_path: Path
) -> None:
    status, said = prove(
        tmp_path, serve(lambda _, n: (200, {"double": 2 * n + 0.25})), tolerance=0.3
    )
    assert (status, said[-1]) == (0, "8 golden answers right"), said
    assert said[0] == "at most 0.25 off: double"
    assert re.fullmatch(r"median .* ms, last 5 within .* ms; \d+ MiB of memory", said[1])


def test_wrong_answers_are_shown_with_what_was_asked_expected_and_found(
    serve: Callable[[Behave], int], tmp_path: Path
) -> None:
    asked = []

    def behave(_: int, number: Any) -> tuple[int, object]:
        asked.append(number)
        return 200, {"double": 2 * number + (number == 3)}

    status, said = prove(tmp_path, serve(behave))
    assert status == 1
    assert said == [
        "golden.jsonl:3: asked 3",
        "    double: expected 6 (within 6e-06), found 7",
        "1 of 8 golden answers is wrong: "
        "golden.jsonl:3: double: expected 6 (within 6e-06), found 7",
    ]
    # What a model says does not become right by asking again.
    assert asked == list(range(1, 9))


def test_a_service_that_is_still_loading_is_asked_again(
    serve: Callable[[Behave], int], tmp_path: Path
) -> None:
    def loading(count: int, number: Any) -> tuple[int, object]:
        return (503, "loading") if count < 12 else doubling(count, number)

    status, said = prove(tmp_path, serve(loading))
    assert status == 0, said
    status, said = prove(tmp_path, serve(lambda *_: (500, {"error": "boom"})))
    assert status == 1
    assert said[-1].endswith('golden.jsonl:1: answered 500, {"error": "boom"}; expected 200')


def test_the_first_answers_may_be_slow_and_the_last_may_not(
    serve: Callable[[Behave], int], tmp_path: Path
) -> None:
    def slow_for(requests: int) -> int:
        def behave(count: int, number: Any) -> tuple[int, object]:
            time.sleep(0.6 * (count < requests))
            return doubling(count, number)

        return serve(behave)

    limits: dict[str, Any] = {"max_latency": "500ms", "last": 1, "timeout": "3s"}
    assert prove(tmp_path, slow_for(2), *DOUBLES[:3], **limits)[0] == 0
    status, said = prove(tmp_path, slow_for(1000), *DOUBLES[:3], **limits)
    assert status == 1
    assert said[0].startswith("too slow: median ")
    assert said[0].endswith("limit 500 ms; 3 s are over")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b'{"double": NaN}', "double is not a finite number"),
        (b"<html>", "the answer is not JSON: '<html>'"),
        (b"[" * 100_000, "the answer is not JSON"),
        (b'"\xff"', "the answer is not JSON"),
        (b"{}", "double: expected 2, found nothing"),
    ],
)
def test_an_answer_that_no_model_should_give_is_named(
    serve: Callable[[Behave], int], tmp_path: Path, answer: bytes, says: str
) -> None:
    status, said = prove(tmp_path, serve(lambda *_: (200, answer)))
    assert status == 1
    assert f"8 of 8 golden answers are wrong: golden.jsonl:1: {says}" in said[-1]
    assert len(said) <= 20


def test_a_model_that_answers_everything_alike_is_refused_although_each_answer_is_close(
    serve: Callable[[Behave], int], tmp_path: Path
) -> None:
    status, said = prove(tmp_path, serve(lambda *_: (200, {"double": 9})), tolerance=8)
    assert status == 1
    assert "do not depend on what is asked: double is 9 in all 8 places" in said[-1]


def test_a_service_that_never_answers_costs_no_more_than_the_time_limit(
    serve: Callable[[Behave], int], tmp_path: Path
) -> None:
    def hang(*_: object) -> tuple[int, object]:
        time.sleep(5)
        return 200, {}

    began = time.monotonic()
    status, said = prove(tmp_path, serve(hang), timeout="1s")
    assert status == 1
    assert time.monotonic() - began < 4.5
    assert said == ["only 0 of 8 golden requests were answered; 1 s are over"]


def test_a_service_that_ends_while_it_is_asked_is_not_asked_again(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    status, said = prove(tmp_path, 9, pid=gone.pid)
    assert (status, said[-1]) == (1, "the service ended when asked golden.jsonl:1")


def test_a_service_that_needs_too_much_memory_is_refused(
    serve: Callable[[Behave], int], tmp_path: Path
) -> None:
    # What a child of the service holds is the service's.
    holder = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    hold = "held = b'x' * (80 << 20); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as large:
        assert large.stdout and large.stdout.readline() == b"held\n"
        port = serve(doubling)
        status, said = prove(tmp_path, port, pid=large.pid, max_memory="64M")
        assert status == 1
        assert said[0].endswith("MiB of memory, limit 64 MiB")
        assert prove(tmp_path, port, pid=large.pid, max_memory="1G")[0] == 0
        large.communicate(b"\n")


def test_a_line_may_ask_in_a_way_of_its_own(serve: Callable[[Behave], int], tmp_path: Path) -> None:
    refusing = serve(lambda _, n: (400, {"error": "no text"}) if n == "x" else (200, {"n": n}))
    lines = (
        {"request": "x", "status": 400, "expected": {"error": "no text"}},
        {"request": 5, "expected": {"n": 4}, "tolerance": 1},
        {"request": 6, "path": "/other", "headers": {"X-Key": "1"}},
    )
    assert prove(tmp_path, refusing, *lines)[0] == 0
