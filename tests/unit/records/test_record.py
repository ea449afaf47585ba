"""release.json: one shape, written by this version and read whoever wrote it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from aideploy.commands.history import Judged
from aideploy.errors import SettingsError
from aideploy.gates.model import Limit
from aideploy.jobs.job import Job, State
from aideploy.phases.facts import HostFacts
from aideploy.phases.fetch import Fetched
from aideploy.phases.install import Installed
from aideploy.phases.train import Trained
from aideploy.records.analyses import KnownRecord, lines, read_analyses, with_analyses
from aideploy.records.card import card
from aideploy.records.comparison import Change, compared
from aideploy.records.details import details
from aideploy.records.making import made, packages, without_password
from aideploy.records.record import FORMAT, Record, read_record
from aideploy.settings import load

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ID = "20260101T120000Z-aaaaaaa"
# As 0.1.0 wrote it.
OLD = {
    "id": ID,
    "app": "ranker",
    "environment": "production",
    "host": "gpu1",
    "repository": "git@example.org:ranker.git",
    "revision": "a" * 40,
    "subject": "Answer",
    "author": "Ada",
    "prepared_at": "2026-01-01T12:00:00+00:00",
    "who": "ann@laptop",
    "interpreter": "/usr/bin/python3 Python 3.11.2",
    "dependencies": "cd7dc80",
    "gpus": ["NVIDIA A100, 550.54, 81920 MiB, 80000 MiB"],
    "model": "b" * 64,
    "metrics": {"auc": 0.76},
    "baseline": "20251231T120000Z-bbbbbbb",
}
HOSTS = """\
[app]
name = "ranker"
repository = "https://bot:t0ken@git.example.org/ranker.git"
[serve]
command = "serve"
environment = { LEVEL = "v-e-r-b-o-s-e" }
[environments.production.hosts.gpu1]
address = "gpu1"
"""


def written(folder: Path) -> Record:
    """The record of a deploy that knows everything."""
    (folder / "hosts.toml").write_text(HOSTS)
    job = Job(
        host="gpu1", id="f" * 16, state=State.SUCCEEDED, revision="a" * 40, who="ann@laptop",
        ended=NOON, seconds=61.5, inputs="e" * 64, data_version="v42",
    )  # fmt: skip
    gpu = "NVIDIA A100, 550.54, 81920 MiB, 12345 MiB"
    return made(
        load(folder / "hosts.toml", None),
        HostFacts(host="gpu1", root=PurePosixPath("/srv"), system="Debian 12", gpus=(gpu,)),
        Fetched("a" * 40, ID, "c" * 40, "Answer", "Ada"),
        release=ID,
        at=NOON,
        who="ann@laptop",
        installed=Installed("cd7dc80", "python3", True, (), ("numpy-2.1.0.dist-info",)),
        trained=Trained("b" * 64, 4096, {"auc": 0.76}, job=job, reused=True),
    )


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    record = written(tmp_path)

    assert record.format == FORMAT
    assert read_record(json.dumps(record.document()).encode()) == record
    assert record.packages == {"numpy": "2.1.0"}
    assert record.training and record.training.data_version == "v42"
    assert (record.driver, record.controller) == ("550.54", "laptop")
    assert record.gpus == ("NVIDIA A100, 550.54, 81920 MiB",), "what was free then is no fact"


def test_no_value_of_a_variable_and_no_token_is_in_the_record(tmp_path: Path) -> None:
    text = json.dumps(written(tmp_path).document())

    assert "v-e-r-b-o-s-e" not in text
    assert "t0ken" not in text
    assert '"LEVEL"' in text


def test_a_record_of_an_older_version_is_read() -> None:
    record = read_record(json.dumps(OLD).encode())

    assert record is not None
    assert (record.format, record.id, record.model) == (0, ID, "b" * 64)
    assert record.prepared_at == NOON
    assert (record.training, record.gate, record.packages) == (None, None, {})
    assert any("auc 0.76" in line for line in details(record))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'"text"'],
)
def test_what_is_no_record_is_none(data: bytes) -> None:
    assert read_record(data) is None


def test_a_damaged_value_takes_nothing_else_with_it() -> None:
    deep: dict[str, object] = {}
    inside = deep
    for _ in range(300):
        inside["a"] = inside = {}
    row = {
        "metric": "auc", "slice": None, "limit": "min", "bound": 0.7, "greater_is_better": True,
        "value": 0.76, "baseline": None, "verdict": "pass", "reason": "",
    }  # fmt: skip
    damaged = {
        **OLD,
        "prepared_at": "noon",
        "gpus": "A100",
        "metrics": deep,
        "packages": {"numpy": 1},
        "gate": {"judgement": "blessed", "blessed": [], "rows": [row]},
        "training": "yes",
        "tests": {"passed": "many", "failed": 2},
        "of the future": True,
    }

    record = read_record(json.dumps(damaged).encode())

    assert record is not None
    assert (record.id, record.prepared_at, record.gpus) == (ID, None, ())
    assert (record.metrics, record.packages, record.training) == (None, {}, None)
    assert record.gate and [one.limit for one in record.gate.rows] == [Limit.MIN]
    assert record.tests and (record.tests.passed, record.tests.failed) == (0, 2)
    assert record.document()["host"] == "gpu1"
    assert details(record)


def test_packages_have_one_spelling() -> None:
    found = packages(["Scikit_Learn-1.5.0.dist-info", "zope.interface-7.0.dist-info", "odd"])

    assert found == {"scikit-learn": "1.5.0", "zope-interface": "7.0"}


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("git@example.org:a/b.git", "git@example.org:a/b.git"),
        ("ssh://git@example.org/b", "ssh://git@example.org/b"),
        ("ssh://git:pass@example.org/b", "ssh://git@example.org/b"),
        ("https://t0ken@example.org/b", "https://example.org/b"),
        ("HTTPS://ann:p@ss@example.org/b@c", "HTTPS://example.org/b@c"),
        ("/srv/git/b@c:d", "/srv/git/b@c:d"),
    ],
)
def test_an_address_loses_its_password_and_nothing_else(address: str, kept: str) -> None:
    assert without_password(address) == kept


def test_a_comparison_names_what_differs_and_only_that(tmp_path: Path) -> None:
    before = written(tmp_path)
    after = before.model_copy(
        update={
            "packages": {"numpy": "2.2.0", "xgboost": "2.1"},
            "metrics": {"auc": 0.78, "loss": 1, "slices": {"new": {"auc": 0.5, "n": True}}},
        }
    )

    found = compared(before, after)

    assert [(one.what, one.before, one.after) for one in found.packages] == [
        ("numpy", "2.1.0", "2.2.0"),
        ("xgboost", "", "2.1"),
    ]
    assert [(one.metric, one.slice, one.change) for one in found.metrics] == [
        ("auc", None, pytest.approx(0.02)),
        ("loss", None, None),
        ("auc", "new", None),
    ]
    assert found.changes == ()
    assert [one.what for one in compared(after, before).packages] == ["numpy", "xgboost"]
    assert compared(Record(), Record()).metrics == ()


WATCHES = {
    "version": 1,
    "watches": [
        {
            "watched": "batch 1 of 2 (canary)",
            "against": "h2",
            "verdict": "inconclusive",
            "checks": [{"name": "errors", "verdict": "inconclusive", "why": "7 requests"}],
        },
        {
            "watched": "batch 2 of 2",
            "against": "h2 before the rollout",
            "verdict": "pass",
            "checks": [
                {"name": "errors", "verdict": "pass", "why": "0.1 % bad (100)\nmore"},
                {"name": "latency", "verdict": "fail", "dry_run": True, "canary": "NaN?"},
            ],
        },
    ],
}


def test_what_the_live_analysis_found_is_shown_in_a_line_each(tmp_path: Path) -> None:
    watches = read_analyses(json.dumps(WATCHES).encode())
    known = with_analyses(written(tmp_path), watches)
    shown = details(KnownRecord.model_validate(known.document()))
    begins = next(index for index, line in enumerate(shown) if line.split()[0] == "analysis")
    told = (line.strip().removeprefix("analysis").strip() for line in shown[begins : begins + 5])
    assert list(told) == [
        "batch 1 of 2 (canary) against h2: inconclusive",
        "errors: inconclusive: 7 requests",
        "batch 2 of 2 against h2 before the rollout: pass",
        "errors: pass: 0.1 % bad (100)",
        "latency (only shown): fail",
    ]
    judged = Judged("r1", tuple(one.model_dump(mode="json") for one in watches))
    assert judged.line == "r1: pass (errors pass, latency fail (only shown))"


def test_a_comparison_shows_what_the_live_analysis_found_of_both(tmp_path: Path) -> None:
    before = with_analyses(written(tmp_path), read_analyses(json.dumps(WATCHES).encode()))
    failed = {"watches": [{"verdict": "fail", "checks": [{"name": "errors", "verdict": "fail"}]}]}
    after = with_analyses(written(tmp_path), read_analyses(json.dumps(failed).encode()))
    assert compared(before, after).analysis == (
        Change("errors", "pass", "fail"),
        Change("latency", "fail (only shown)", ""),
    )
    assert compared(before, after).changes == ()


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"[" * 100_000, b'{"watches": 7}', b'{"watches": [{"checks": [[]]}]}', b"\xff"],
)
def test_analyses_that_are_damaged_are_none(data: bytes) -> None:
    watches = read_analyses(data)
    assert not [check for watch in watches for check in watch.checks]
    list(lines(watches))


def test_a_card_cannot_be_broken_out_of(tmp_path: Path) -> None:
    evil = "x` | <script>\n# @everyone \x1b[2J"
    record = written(tmp_path).model_copy(
        update={"subject": evil, "metrics": {evil: 1.0}, "model_source": {"url": evil}}
    )

    text = card(record, tmp_path)

    assert "`x' \\| <script>\\x0a# @everyone `" in text
    assert "\n# @everyone" not in text
    assert "\x1b" not in text
    assert text.startswith("<!-- managed by aideploy")
    assert "| Data version | `v42` |" in text


def test_a_card_of_ones_own_wins(tmp_path: Path) -> None:
    record = written(tmp_path)
    (tmp_path / "templates").mkdir()
    own = tmp_path / "templates" / "model_card.md.j2"
    own.write_text("{{ record.model }}: {{ record.app }}")
    assert card(record, tmp_path) == f"{'b' * 64}: ranker"

    own.write_text("{{ record.nothing }}")
    with pytest.raises(SettingsError, match="template"):
        card(record, tmp_path)
