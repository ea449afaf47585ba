"""`fab rollback`: which release it takes, and what stays on the hosts to go back to."""

from __future__ import annotations

from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project
from tests.lab.hosts import Lab

pytestmark = pytest.mark.fleet


@pytest.mark.slow
def test_rollback_takes_the_good_release_before_what_is_live_and_never_a_bad_one(
    lab: Lab, tmp_path: Path
) -> None:
    project = Project(lab, tmp_path / "history", app="history", port=8200, keep_releases=3)
    project.set_up()
    first = project.deploy()
    nothing = project.fab("rollback", expected=ExitStatus.USAGE)
    assert "there is no good release before" in nothing.last_words
    assert project.all_serve() == {first}

    second = project.deploy()
    project.commit(ill_when_live_on=["all"])
    project.fab("deploy", expected=ExitStatus.ROLLED_BACK)
    third = project.deploy()

    project.fab("rollback")
    assert project.all_serve() == {second}
    project.fab("rollback")
    assert project.all_serve() == {first}
    project.fab("rollback", expected=ExitStatus.USAGE)

    newest = max(project.releases(lab.hosts[0]))
    assert newest.endswith(third[:7])
    project.fab("rollback", "--to", newest)
    assert project.all_serve() == {third}
    strange = project.fab("rollback", "--to", "20200101T000000Z-0000000", expected=ExitStatus.USAGE)
    assert "there is no release '20200101T000000Z-0000000' on h1, h2, h3" in strange.last_words
    assert newest in strange.last_words

    for _ in range(3):
        live = project.deploy()
    kept = project.releases(lab.hosts[0])
    assert len(kept) == 3
    assert kept[-1].endswith(live[:7])
    models = lab.hosts[0].exec(f"ls {project.root}/models").stdout.split()
    assert len(models) == 3
    project.fab("rollback")
    assert len(project.all_serve() - {live}) == 1


def test_a_rollback_that_finds_the_old_release_ill_returns_to_what_was_live(
    project: Project,
) -> None:
    project.deploy()
    live = project.deploy()
    host = project.hosts[1]
    previous = project.releases(host)[-2]
    broken = f"{project.root}/releases/{previous}/behaviour.json"
    host.exec(f'cp {broken} /root/kept; echo \'{{"ill_when_live_on": ["h2"]}}\' > {broken}')

    seen = project.fab("rollback", expected=ExitStatus.NOT_READY)
    assert "h2: behaviour.json" in seen.last_words
    finished = project.fab("rollback", "--to", previous, expected=ExitStatus.ROLLED_BACK)

    host.exec(f"cp /root/kept {broken}")
    assert "✗ switch on h2: after the switch: not healthy" in finished.last_words
    assert project.all_serve() == {live}
