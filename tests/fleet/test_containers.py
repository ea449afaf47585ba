"""Services in containers on real hosts: podman without root, a registry, one image for all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, repositories
from tests.lab.hosts import Host, Lab

pytestmark = pytest.mark.fleet

REGISTRY = "h1:5000"
IMAGE = f"{REGISTRY}/team/python"
# What only these hosts need, which are containers themselves: no keyring, limits that they may set,
# and runc, because crun refuses this machine's control groups.
CONTAINERS_CONF = """
[engine]
runtime = "runc"
[containers]
keyring = false
default_ulimits = ["nofile=1024:2000", "nproc=10000:10000"]
"""
# Their disks are overlays already.
STORAGE_CONF = '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\n'
STORAGE_CONF += 'graphroot = "/var/lib/containers/storage"\n'
REGISTRIES_CONF = f'[[registry]]\nlocation = "{REGISTRY}"\ninsecure = true\n'
REGISTRY_YML = """
version: 0.1
storage:
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
"""
# The host's own Python as an image: nothing is downloaded for it.
IMPORT = """
cd / && tar -ch --hard-dereference --exclude='*/__pycache__' --exclude='*/test' \
  --exclude='*/config-3*' --exclude='*/ensurepip' bin/sh {python} usr/lib/python3.11 \
  $(ldd /usr/bin/python3.11 /bin/sh | grep -o '/[^ ]*' | grep -v : | sort -u) \
  | podman import {changes} - {image} && podman push --quiet {image}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two hosts with podman; the first has a registry."""
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    packages = ("podman", "runc", "uidmap", "catatonit", "docker-registry")
    with Lab(2, binds=[folder], packages=packages) as lab:
        for host in lab.hosts:
            host.path("/etc/containers/containers.conf").write_text(CONTAINERS_CONF)
            host.path("/etc/containers/storage.conf").write_text(STORAGE_CONF)
            host.path("/etc/containers/registries.conf").write_text(REGISTRIES_CONF)
        lab.hosts[0].path("/etc/registry.yml").write_text(REGISTRY_YML)
        lab.hosts[0].exec(
            "systemd-run --quiet --unit=registry docker-registry serve /etc/registry.yml"
        )
        yield lab


def publish(host: Host, tag: str, *, works: bool = True, **labels: str) -> None:
    """Put an image with this tag into the registry: another one for other labels."""
    changes = " ".join(f"--change 'LABEL {name}={text}'" for name, text in labels.items())
    python = "usr/bin/python3" if works else ""
    host.exec(IMPORT.format(image=f"{IMAGE}:{tag}", changes=changes, python=python))


def as_deploy(host: Host, command: str) -> str:
    user = "runuser -u deploy -- env HOME=/home/deploy XDG_RUNTIME_DIR=/run/user/1000"
    return host.exec(f"cd / && {user} {command}").stdout


def running(project: Project, host: Host) -> dict[str, str]:
    """The containers of the app, and the ids of their images."""
    listed = as_deploy(host, "podman ps --format '{{.Names}} {{.ImageID}}'")
    return dict(line.split() for line in listed.splitlines())


def recorded(project: Project, host: Host) -> dict[str, str]:
    """What release.json of the live release says of its image."""
    record = json.loads(host.exec(f"cat {project.root}/current/release.json").stdout)
    image: dict[str, str] = record["image"]
    return image


def kept_images(project: Project, host: Host) -> list[str]:
    """The releases whose images a host keeps."""
    names = f"localhost/aideploy-{project.app}"
    return sorted(as_deploy(host, f"podman images --format '{{{{.Tag}}}}' {names}").split())


def project_of(
    lab: Lab, folder: Path, *, app: str, serve: str, strategy: str = "recreate"
) -> Project:
    return Project(
        lab,
        folder / app,
        app=app,
        port=8720 if app == "boxed" else 8730,
        strategy=strategy,
        serve=serve,
        keep_releases=2,
    )


def test_a_container_is_deployed_refused_and_rolled_back_by_its_digest(
    lab: Lab, tmp_path: Path
) -> None:
    first, second = lab.hosts
    publish(first, "1", version="1")
    secrets = "secrets = ['TOKEN']\nsecrets_file = 'secrets.env'\n"
    serve = f"image = '{IMAGE}:1'\nlinked = ['data/']\n{secrets}"
    project = project_of(lab, tmp_path, app="boxed", serve=serve)
    (project.folder / "secrets.env").write_text("TOKEN='s3cret $x'\n")
    project.set_up()
    good = project.commit()
    project.fab("check")
    project.fab("deploy")
    assert project.all_serve() == {good}
    image = recorded(project, first)
    assert image == recorded(project, second)
    assert image["source"].startswith(f"{IMAGE}@sha256:")
    for host in lab.hosts:
        [(name, its_id)] = running(project, host).items()
        assert name == "boxed-live"
        assert image["id"].removeprefix("sha256:").startswith(its_id)
        assert "TOKEN=s3cret $x" in as_deploy(
            host, "podman exec boxed-live /bin/sh -c export"
        ).replace("'", "")
        assert "s3cret" not in host.exec("ps -eo args").stdout

    # The tag means a broken image from now on.
    publish(first, "1", works=False, version="2")
    project.commit()
    refused = project.fab("deploy", expected=ExitStatus.REFUSED)
    assert "python3" in refused.output, "what the container said"
    assert project.all_serve() == {good}
    assert recorded(project, first) == image

    publish(first, "1", version="3")
    better = project.deploy()
    assert project.all_serve() == {better}
    assert recorded(project, first) == recorded(project, second) != image
    project.fab("rollback")
    assert project.all_serve() == {good}
    assert recorded(project, first) == image
    host_id = running(project, first)["boxed-live"]
    assert image["id"].removeprefix("sha256:").startswith(host_id)

    project.configure(serve=serve.replace(":1'", ":none'"))
    missing = project.fab("deploy", expected=ExitStatus.ROLLED_BACK)
    assert f"podman cannot pull {IMAGE}:none" in missing.output
    assert "manifest unknown" in missing.last_words
    assert "nothing was switched" in missing.last_words
    assert project.all_serve() == {good}


@pytest.mark.slow
def test_what_a_dockerfile_builds_is_the_same_image_on_every_host(lab: Lab, tmp_path: Path) -> None:
    first, second = lab.hosts
    publish(first, "base", version="1")
    project = project_of(
        lab, tmp_path, app="built", serve="dockerfile = 'Dockerfile'\n", strategy="blue_green"
    )
    # `command` of the project is the service's; the image brings what it needs.
    (project.source / "Dockerfile").write_text(f"FROM {IMAGE}:base\nCOPY serve.py /built/\n")
    project.set_up()
    revisions = [project.deploy(number=number) for number in range(3)]
    assert project.all_serve() == {revisions[-1]}
    assert recorded(project, first) == recorded(project, second)
    for host in lab.hosts:
        assert kept_images(project, host) == project.releases(host)
        assert len(project.releases(host)) == 2
    project.fab("rollback")
    assert project.all_serve() == {revisions[-2]}
