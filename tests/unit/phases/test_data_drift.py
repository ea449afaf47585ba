"""What `fab status` says of drift of the data: by the limits of the alert, and of scores alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aideploy.monitoring.rules import drift_limits
from aideploy.phases import condition, data_drift
from aideploy.settings import Settings, load
from tests.scripts.running import run

LIMITS = drift_limits(0.2)
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
COMMON = 'app="ranker",env="production"'
SETTINGS = """
[app]
name = "ranker"
repository = "/unused"
deploy_to = "{root}"
[serve]
command = "serve"
[monitoring]
textfile = "/var/lib/unused"
[drift]
command = "true"
[environments.production.hosts.web1]
address = "web1"
"""


def written(*scores: tuple[str, str, float], failed: int = 0, at: datetime = NOW) -> bytes:
    """The file as drift.py writes it."""
    lines = [
        f'aideploy_drift_score{{{COMMON},feature="{feature}",method="{method}"}} {value}'
        for feature, method, value in scores
    ]
    lines += [
        "# TYPE aideploy_drift_last_failed gauge",
        f"aideploy_drift_last_failed{{{COMMON}}} {failed}",
        f"aideploy_drift_timestamp_seconds{{{COMMON}}} {at.timestamp():.0f}",
    ]
    return "\n".join([*lines, ""]).encode()


def remark(data: bytes) -> str:
    found = data_drift.read(data)
    return found.remark(LIMITS, NOW) if found else "nothing"


def test_features_beyond_their_limit_are_named_the_farthest_first() -> None:
    scores = (
        *(("age", "psi", 0.25), ("device", "psi", 1.5), ("country", "psi", 0.19)),
        # Where there is a PSI the others do not count.
        *(("country", "js", 0.9), ("prediction", "wasserstein", 0.6), ("prediction", "js", 0.1)),
        *(("rows", "wasserstein", 0.6), (r"a\"b", "js", 0.3)),
    )
    said = remark(written(*scores))
    assert said == (
        'the data has drifted beyond the limit: device psi 1.5, a"b js 0.3, rows wasserstein 0.6 '
        "and 1 more (2026-01-02 12:00 UTC)"
    )
    assert remark(written(("age", "psi", 0.19), ("age", "js", 0.9))) == ""


def test_that_nobody_knows_is_said(tmp_path: Path) -> None:
    assert "could not be told" in remark(written(failed=1))
    old = written(("age", "psi", 9), at=NOW - timedelta(days=2))
    assert "nobody has looked for drift of the data since 2025-12-31" in remark(old)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe{}",
        b"aideploy_drift_timestamp_seconds{} 1e300\n",
        b"aideploy_drift_timestamp_seconds{} e\naideploy_drift_score{} 1.1.1\n",
    ],
)
def test_a_file_that_says_nothing_is_nothing(data: bytes) -> None:
    assert remark(data) == "nothing"


def test_a_method_that_nobody_knows_is_passed_over() -> None:
    assert remark(written(("age", "\x1b[2J", 99.0), ("", "", 99.0))) == ""


# As the service manager would answer.
MANAGER = "service_state() { echo active; }; service_additions() { :; }; slot_at() { echo blue; }\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "hosts.toml").write_text(SETTINGS.format(root=tmp_path / "srv"))
    return load(tmp_path / "hosts.toml", None)


def test_a_host_sends_the_file_with_the_rest_and_is_well_without_it(
    settings: Settings, tmp_path: Path
) -> None:
    script = condition.script(settings, settings.hosts[0])
    (tmp_path / "srv").mkdir()
    ran = run(script, before=MANAGER)
    assert ran.status == 0
    assert condition.read(ran.result).data_drift is None
    place = tmp_path / "srv" / data_drift.file_of(settings, settings.hosts[0])
    place.parent.mkdir()
    place.write_bytes(written(("age", "psi", 0.25)))
    found = condition.read(run(script, before=MANAGER).result).data_drift
    assert found and [one.feature for one in found.beyond(LIMITS)] == ["age"]
