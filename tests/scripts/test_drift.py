"""Drift as hosts find it out: the numbers against scipy and numpy, then the whole program on a
folder as a host has one, with rows and references as they come: missing, odd, cut, none at all."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

from aideploy.errors import SettingsError
from aideploy.scripts import drift_scores as own
from aideploy.services.files import rendered_files
from aideploy.settings import load
from tests.scripts.test_host_metrics import check_by_promtool

Numbers = NDArray[np.float64]


def reference_of(values: Numbers) -> dict[str, object]:
    """A reference as docs/drift.md describes one."""
    inner = np.quantile(values, np.arange(1, 10) / 10)
    edges = np.unique([values.min(), *inner, np.nextafter(values.max(), np.inf)])
    counts = np.histogram(values, [-np.inf, *edges, np.inf])[0]
    return {
        "kind": "numeric",
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "quantiles": np.quantile(values, (np.arange(100) + 0.5) / 100).tolist(),
        "std": float(values.std()),
    }


def column_of(values: Numbers) -> own.Column:
    return own.columns({"format": 1, "columns": {"x": reference_of(values)}})[0]


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator], Numbers]] = {
    "the same": lambda random: random.normal(0, 1, 3000),
    "moved": lambda random: random.normal(0.7, 1, 3000),
    "wider": lambda random: random.normal(0, 2, 1999),
    "elsewhere": lambda random: random.normal(50, 1, 700),
    "tied": lambda random: random.integers(-2, 3, 1234).astype(float),
    "a constant": lambda random: np.full(800, 0.25),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("trained_on", ["the same", "tied", "a constant"])
def test_every_score_is_that_of_scipy_and_numpy(name: str, trained_on: str) -> None:
    trained = DISTRIBUTIONS[trained_on](np.random.default_rng(1))
    seen = DISTRIBUTIONS[name](np.random.default_rng(2))
    column = column_of(trained)
    counts, numbers = own.counted(column, seen.tolist())

    assert column.edges is not None
    bins = [-np.inf, *column.edges, np.inf]
    assert counts == [*np.histogram(seen, bins)[0], 0]
    p = np.array(column.counts) / sum(column.counts)
    q = np.array(counts) / len(seen)
    js = own.score("js", column, counts, numbers)
    assert js == pytest.approx(jensenshannon(p, q, base=2), abs=1e-9)
    used = (p > 0) | (q > 0)
    floored = np.maximum(p[used], 1e-4), np.maximum(q[used], 1e-4)
    # The sum of both relative entropies, where both are distributions.
    expected = float(np.sum((floored[1] - floored[0]) * np.log(floored[1] / floored[0])))
    assert own.score("psi", column, counts, numbers) == pytest.approx(expected, rel=1e-9)
    distance = stats.wasserstein_distance(column.quantiles, seen)
    spread = trained.std() or abs(trained[0])
    found = own.score("wasserstein", column, counts, numbers)
    assert found == pytest.approx(distance / spread, rel=1e-9, abs=1e-12)


def score(kind: str, column: own.Column, counted: tuple[list[float], list[float]]) -> float:
    found = own.score(kind, column, *counted)
    assert found is not None
    return found


def test_psi_is_the_sum_of_both_relative_entropies() -> None:
    p, q = [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]
    assert own.psi(p, q) == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p))
    assert own.psi(p, p) == 0


def test_what_has_not_moved_scores_low_and_what_has_scores_high_whatever_the_number_of_rows() -> (
    None
):
    random = np.random.default_rng(3)
    column = column_of(random.normal(10, 2, 50_000))
    for rows in (500, 5_000, 50_000):
        same = own.counted(column, random.normal(10, 2, rows).tolist())
        moved = own.counted(column, random.normal(12, 2, rows).tolist())
        assert score("psi", column, same) < 0.1 < 0.6 < score("psi", column, moved)
        assert score("js", column, same) < 0.12 < 0.3 < score("js", column, moved)
        assert score("wasserstein", column, same) < 0.15
        assert score("wasserstein", column, moved) == pytest.approx(1, abs=0.15)


def test_categories_that_are_new_or_missing_are_seen() -> None:
    described = {"kind": "categorical", "counts": {"a": 50, "b": 50}, "other": 0, "missing": 0}
    [column] = own.columns({"format": 1, "columns": {"c": described}})
    assert own.counted(column, ["a", "b", "new", None, "", math.nan, ["x"], "a"])[0] == [2, 1, 1, 4]

    def psi(values: Sequence[object]) -> float:
        return score("psi", column, own.counted(column, values))

    assert psi(["a", "b"] * 50) == 0
    assert psi(["a", "b"] * 50 + ["new"] * 30) > 1
    assert psi(["a", "b"] * 50 + [None] * 30) > 1
    assert own.score("wasserstein", column, *own.counted(column, ["a"])) is None


def test_numbers_truths_and_words_name_the_same_category_however_they_are_written() -> None:
    for value, name in ((3, "3"), (3.0, "3"), (2.5, "2.5"), (True, "true"), ("x", "x")):
        assert own.category_of(value) == name


def test_what_is_no_number_is_missing() -> None:
    column = column_of(np.arange(100.0))
    odd: list[object] = [None, "", "word", math.nan, math.inf, [1], {}, 10**400, "7", True]
    counts, numbers = own.counted(column, odd)
    assert counts[-1] == 8
    assert numbers == [1.0, 7.0]
    only_missing = own.counted(column, [None] * 100)
    assert own.score("wasserstein", column, *only_missing) is None
    assert own.score("js", column, *only_missing) == pytest.approx(1)


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ([], "no object"),
        ({"format": 2, "columns": {}}, "format"),
        ({"format": 1, "columns": {}}, "no columns"),
        ({"format": 1, "columns": {"x": 3}}, "column x: expected"),
        ({"format": 1, "columns": {"x": {"kind": "text"}}}, "column x: expected"),
        *(
            ({"format": 1, "columns": {"x": {"kind": "numeric", **wrong}}}, f"column x: {text}")
            for wrong, text in (
                ({"edges": [2, 1], "counts": [1, 1, 1]}, '"edges" do not ascend'),
                ({"edges": [1, 1], "counts": [1, 1, 1]}, '"edges" do not ascend'),
                ({"edges": [1, 2], "counts": [1, 1]}, "expected 3"),
                ({"edges": [math.nan], "counts": [1, 1]}, '"edges" is no list'),
                ({"edges": [1], "counts": [0, 0]}, "its counts"),
                ({"edges": [1], "counts": [-1, 5]}, "its counts"),
                ({"edges": [1], "counts": [1, 1], "quantiles": [2, 1]}, '"quantiles"'),
                ({"edges": [1], "counts": [1, 1], "std": -1}, '"std"'),
            )
        ),
        ({"format": 1, "columns": {"x": {"kind": "categorical", "counts": []}}}, "no object"),
        (
            {"format": 1, "columns": {"x": {"kind": "categorical", "counts": {"a": "b"}}}},
            "its counts",
        ),
    ],
)
def test_a_reference_that_is_not_right_says_where(reference: object, text: str) -> None:
    with pytest.raises(own.BadReference, match=re.escape(text)):
        own.columns(reference)


# -- the whole program ----------------------------------------------------------------------------


class Drifting:
    """The folder of an app whose live release has a reference, and what a timer runs there."""

    def __init__(self, folder: Path, drift: str) -> None:
        self.folder = folder
        self.root = folder / "an app"
        release = self.root / "releases/20260102T030405Z-abcdef0"
        for place in (release / "model", release / ".aideploy", self.root / "drift"):
            place.mkdir(parents=True)
        (self.root / "current").symlink_to(f"releases/{release.name}")
        (release / ".aideploy/env").write_text("SECRET='a b'\n")
        self.reference = release / "model/reference.json"
        self.data = release / "data"
        self.data.mkdir()
        self.file = self.root / "drift/aideploy-ranker.production.drift.prom"
        (folder / "hosts.toml").write_text(
            "[app]\nname = 'ranker'\nrepository = '/unused'\n"
            "[serve]\ncommand = 'unused'\n[model]\nsource = 'file:///m'\nsha256 = '"
            + "0"
            * 64
            + "'\n"
            f"[drift]\nmin_rows = 100\n{drift}\n"
            "[monitoring]\ntextfile = '/unused/textfile'\n"
            "[environments.production.hosts.h1]\naddress = 'h1.example'\nroles = ['serve']\n"
        )
        settings = load(folder / "hosts.toml", None)
        files = rendered_files(
            settings, settings.hosts[0], root=PurePosixPath(self.root), user="deploy"
        )
        self.program = self.root / "drift.sh"
        [text] = (file.content for file in files if file.path.name == "drift.sh")
        self.program.write_text(text)

    def refer(self) -> None:
        random = np.random.default_rng(1)
        self.reference.write_text(
            json.dumps(
                {
                    "format": 1,
                    "columns": {
                        "age": reference_of(random.normal(40, 10, 5000)),
                        "device": {"kind": "categorical", "counts": {"mobile": 70, "tablet": 30}},
                        "prediction": reference_of(random.beta(2, 30, 5000)),
                    },
                }
            )
        )

    def look(self, status: int = 0) -> dict[str, float]:
        done = subprocess.run(
            ["/bin/bash", self.program],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )
        self.said = done.stdout + done.stderr
        assert done.returncode == status, self.said
        assert "Traceback" not in self.said
        text = self.file.read_text()
        check_by_promtool(self.file)
        pairs = (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
        common = 'app="ranker",env="production"'
        return {
            name.replace(f"{{{common}}}", "").replace(f"{common},", ""): float(value)
            for name, _, value in pairs
        }


def rows(count: int, age: float, at: object = None) -> list[dict[str, object]]:
    random = np.random.default_rng(7)
    return [
        {
            **({"at": at} if at is not None else {}),
            "age": random.normal(age, 10),
            "device": "mobile" if random.random() < 0.7 else "tablet",
            "prediction": random.beta(2, 30),
            "unknown": [1],
        }
        for _ in range(count)
    ]


def lines(*many: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in many)


@pytest.fixture
def logging(tmp_path: Path) -> Drifting:
    app = Drifting(tmp_path, "log = 'data/features.jsonl'")
    app.refer()
    return app


def test_a_feature_that_moved_stands_out_and_the_others_do_not(logging: Drifting) -> None:
    log = logging.data / "features.jsonl"
    log.write_text(lines(*rows(1000, age=60, at=time.time())))
    told = logging.look()
    assert told["aideploy_drift_window_rows"] == 1000
    assert told["aideploy_drift_last_failed"] == 0
    assert told['aideploy_drift_score{feature="age",method="psi"}'] > 1
    assert told['aideploy_drift_score{feature="age",method="wasserstein"}'] == pytest.approx(
        2, abs=0.2
    )
    for calm in ("device", "prediction"):
        assert told[f'aideploy_drift_score{{feature="{calm}",method="psi"}}'] < 0.1
    assert "furthest is age" in logging.said


def test_rows_outside_of_the_window_do_not_count_and_too_few_give_no_score(
    logging: Drifting,
) -> None:
    now = time.time()
    iso = datetime.fromtimestamp(now - 60, UTC).isoformat()
    old, ahead, none = now - 2 * 3600, now + 3600, "never"
    (logging.data / "features.jsonl.1").write_text(lines(*rows(20, 40, iso), *rows(300, 40, old)))
    (logging.data / "features.jsonl").write_text(
        lines(*rows(30, 40, now), *rows(300, 40, ahead), *rows(300, 40, none), *rows(300, 40))
        + "no JSON\n[1]\n"
        + '{"at": 1, "cut": '
    )
    told = logging.look()
    assert told["aideploy_drift_window_rows"] == 50
    assert not any("score" in name for name in told)
    assert "2 lines are no rows" in logging.said


def test_a_log_that_begins_in_the_middle_of_a_row_is_read_all_the_same(logging: Drifting) -> None:
    cut = '2, "device": "mobile", "prediction": 0.04}\n'
    log = logging.data / "features.jsonl"
    log.write_text(cut + lines(*rows(1000, age=60, at=time.time())))
    told = logging.look()
    assert told["aideploy_drift_window_rows"] == 1000
    assert told['aideploy_drift_score{feature="age",method="psi"}'] > 1
    assert "1 lines are no rows" in logging.said


def test_a_service_that_logs_nothing_has_no_rows(logging: Drifting) -> None:
    assert logging.look()["aideploy_drift_window_rows"] == 0


def test_a_feature_that_is_not_sent_any_more_is_the_furthest(logging: Drifting) -> None:
    gone = [{k: v for k, v in row.items() if k != "device"} for row in rows(500, 40, time.time())]
    (logging.data / "features.jsonl").write_text(lines(*gone))
    told = logging.look()
    assert told['aideploy_drift_score{feature="device",method="js"}'] == pytest.approx(1)
    assert "furthest is device" in logging.said


@pytest.mark.parametrize("content", [None, b"", b"{", b"[" * 100_000, b"\xff\xfe", b"{}"])
def test_without_a_right_reference_there_is_no_score_and_it_is_said(
    logging: Drifting, content: bytes | None
) -> None:
    (logging.data / "features.jsonl").write_text(lines(*rows(500, 40, time.time())))
    logging.look()
    if content is None:
        logging.reference.unlink()
    else:
        logging.reference.write_bytes(content)
    told = logging.look(status=1)
    assert told["aideploy_drift_last_failed"] == 1
    assert not any("score" in name for name in told)
    assert "reference.json" in logging.said


def test_the_projects_own_command_may_print_csv(tmp_path: Path) -> None:
    app = Drifting(tmp_path, 'command = \'cat "$SECRET.csv"; echo "$WINDOW_SECONDS" >seconds\'')
    app.refer()
    text = "age,device,prediction\n" + "".join(
        f'{row["age"]},"{row["device"]}",{row["prediction"]}\n' for row in rows(400, 40)
    )
    (app.reference.parents[1] / "a b.csv").write_text(text + "1,2\n")
    told = app.look()
    assert told["aideploy_drift_window_rows"] == 400
    assert told['aideploy_drift_score{feature="age",method="psi"}'] < 0.2
    assert (app.reference.parents[1] / "seconds").read_text() == "3600\n"
    assert "1 lines are no rows" in app.said


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("echo '{}'; exit 3", "exit status 3"),
        ("sleep 60 & sleep 60", "longer than 1 s"),
        ("nothing-of-that-name", "exit status 127"),
        ("head -c 70000000 /dev/zero", "printed more than"),
    ],
)
def test_a_command_that_fails_is_said_and_leaves_nothing_running(
    tmp_path: Path, command: str, text: str
) -> None:
    app = Drifting(tmp_path, f'command = "{command}"\ntimeout = "1s"')
    app.refer()
    told = app.look(status=1)
    assert told["aideploy_drift_last_failed"] == 1
    assert text in app.said


def test_before_the_first_deploy_nothing_is_looked_at(logging: Drifting) -> None:
    (logging.root / "current").unlink()
    done = subprocess.run(["/bin/bash", logging.program], capture_output=True, check=True)
    assert done.stdout + done.stderr == b""
    assert not logging.file.exists()


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("[drift]\n", "expected one of the two"),
        ("[drift]\nlog = 'a'\ncommand = 'b'\n", "expected one of the two"),
        ("[drift]\nlog = 'a'\n[monitoring]\n", "monitoring.textfile: missing"),
        ("[drift]\nlog = 'a'\nmethods = ['ks']\n", "methods"),
        ("[drift]\nlog = '../a'\n", "drift.log"),
        ("[drift]\nlog = 'a'\nmin_rows = 0\n", "min_rows"),
        ("[drift]\nlog = 'a'\nwindow = 'often'\n", "window"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, table: str, text: str) -> None:
    file = tmp_path / "hosts.toml"
    textfile = "" if "[monitoring]" in table else "[monitoring]\ntextfile = '/t/t'\n"
    file.write_text(
        "[app]\nname = 'ranker'\nrepository = '/unused'\n[serve]\ncommand = 'unused'\n"
        f"{table}{textfile}[environments.p.hosts.h1]\naddress = 'h1'\nroles = ['serve']\n"
    )
    with pytest.raises(SettingsError) as refused:
        load(file, None)
    assert any(text in problem for problem in refused.value.problems), refused.value.problems
