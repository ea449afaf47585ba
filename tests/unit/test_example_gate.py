"""The gate of the example lets every good model pass, whatever the seed, and no ruined one."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from itertools import permutations
from pathlib import Path

import pytest

import ranker_versions
from aideploy.gates.model import Baseline, evaluate
from aideploy.sandbox.layout import Host, Layout
from aideploy.sandbox.rendering import hosts_toml
from aideploy.settings.gate import Gate
from tests.hosts_toml import loaded

README = Path(ranker_versions.__file__).parent / "ranker" / "README.md"
# Other seeds make up other users, ads and clicks: as different as one week's data from another's.
FEW, ALL = (1, 2, 3), tuple(range(1, 21))


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Gate, ...]:
    """The gate of the demo."""
    folder = tmp_path_factory.mktemp("demo")
    hosts = (Host(name="host1", address="127.0.0.1", port=2222),)
    text = hosts_toml(Layout(folder), hosts, app="ranker", port=8000, repository=folder)
    return loaded(folder, text).gates


def test_the_readme_of_the_example_tells_the_gate_of_the_demo(gates: tuple[Gate, ...]) -> None:
    block = README.read_text().partition("```toml\n")[2].partition("```")[0]
    told = tomllib.loads(block)["gate"]
    assert tuple(Gate.model_validate(each) for each in told) == gates


# Twenty trainings take a minute, and many where other tests want the machine, too.
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seeds", [FEW, pytest.param(ALL, marks=pytest.mark.slow)], ids=len)
def test_trainings_with_different_seeds_pass_the_gate_against_each_other(
    tmp_path: Path, gates: tuple[Gate, ...], seeds: tuple[int, ...]
) -> None:
    ranker_versions.first(tmp_path)
    written = {seed: _trained(tmp_path, seed) for seed in seeds}
    for before, now in permutations(seeds, 2):
        baseline = Baseline(f"seed {before}", json.loads(written[before]))
        evaluation = evaluate(gates, written[now], baseline)
        assert evaluation.blessed, (before, now, evaluation.reasons)

    # And it is no gate that lets everything pass.
    good = json.loads(written[seeds[0]])
    baseline = Baseline("good", good)
    guessing = {**good, "auc": 0.5}
    ruined = {**good, "slices": {**good["slices"], "new_users": {"auc": 0.5}}}
    leaking = {**good, "auc": 0.99}
    for bad in (guessing, ruined, leaking):
        assert not evaluate(gates, json.dumps(bad).encode(), baseline).blessed


def _trained(folder: Path, seed: int) -> bytes:
    """What a training as a deploy runs it writes of itself."""
    command = [sys.executable, "train.py", "--seed", str(seed)]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return (folder / "metrics.json").read_bytes()
