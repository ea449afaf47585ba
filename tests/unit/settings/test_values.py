"""Promises of the single values in hosts.toml: what they mean, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from aideploy.settings import values
from aideploy.settings.values import Linked, git_ref


@pytest.mark.parametrize(
    ("kind", "text", "meaning"),
    [
        (values.Duration, "90s", timedelta(seconds=90)),
        (values.Duration, "15m", timedelta(minutes=15)),
        (values.Duration, "6h", timedelta(hours=6)),
        (values.Duration, "500ms", timedelta(milliseconds=500)),
        (values.Duration, "1.5h", timedelta(minutes=90)),
        (values.Duration, "0s", timedelta()),
        (values.Size, "4G", 4 * 1024**3),
        (values.Size, "1.5K", 1536),
        (values.Percent, "200%", 200),
        (values.LinkedPath, ".env", Linked(PurePosixPath(".env"), directory=False)),
        (values.LinkedPath, "var/data/", Linked(PurePosixPath("var/data"), directory=True)),
        (values.HostFolder, "/srv/my.app_1/", PurePosixPath("/srv/my.app_1")),
    ],
)
def test_a_value_is_read_as_what_it_means(kind: Any, text: str, meaning: object) -> None:
    assert TypeAdapter(kind).validate_python(text) == meaning


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((values.Duration, v) for v in ("", "90", "90 s", "s", "-1s", "1h30m", "9" * 8 + "h", 90)),
        *((values.Duration, v) for v in ("٣s", "1e3s", "90s\n", True, None)),
        *((values.Timeout, v) for v in ("0s", "0.0h")),
        *((values.Size, v) for v in ("", "4", "4GB", "0G", "-4G", "4g", 4)),
        *((values.Percent, v) for v in ("0%", "200", "-5%", "1.5%", 200)),
        *((values.Port, v) for v in (0, 65536, -1, "80", 80.0, True)),
        *((values.AppName, v) for v in ("", "1app", "-a", "a-", "a b", "A", "ä", "a/b", "a" * 32)),
        *((values.AppName, v) for v in ("a\n", "$(id)", "`id`", "a;b", "a.b", "..")),
        *((values.AppName, v) for v in ("x-haproxy", "x-due", "x-drift")),
        *((values.Name, v) for v in ("", "-a", "a-", "gpu_1", "gpu.1", "GPU", "a" * 42)),
        *(
            (values.Address, v)
            for v in ("", "-oProxyCommand=x", "a b", "me@host", "host:22", "[::1]")
        ),
        *((values.Address, v) for v in ("hôte", "[::1]", "::1%eth0;id", "host\n", "$(id)", "::1%")),
        *((values.Gateway, v) for v in ("-x", "a b", "a,b", "")),
        *((values.ListenAddress, v) for v in ("localhost", "::1", "1.2.3", "")),
        *((values.Repository, v) for v in ("", "--upload-pack=x", " x", "x\ny", "x\x00")),
        *((values.Command, v) for v in ("", " \n", "a\x00b")),
        *((values.Line, v) for v in ("a\nb", "a\x00", "\x1b[31m", "a\rb")),
        *((values.HostFolder, v) for v in ("/", "/srv", "/etc/", "srv/app", "/srv/../etc")),
        *(
            (values.HostFolder, v)
            for v in ("/srv/a b", "/srv/a\n", "/srv//a", "/srv/$(id)", "/srv/ä")
        ),
        *(
            (values.HostFolder, v)
            for v in ("/srv/.", "/srv/ä", "/srv/%i", "/srv/-a", "~", "~ann/app", "~/../app")
        ),
        *(
            (values.ProjectPath, v)
            for v in ("", ".", "..", "/a", "a/../b", "-a", "a b", "./a", "a//b")
        ),
        *((values.LinkedPath, v) for v in ("/", "/data", "../x", "a/..", "", 3, None)),
        *((values.VariableName, v) for v in ("", "1A", "A-B", "A=B", "Ä", "A B")),
        *((values.LabelName, v) for v in ("__name__", "a-b", "1a", "")),
        *((values.Url, v) for v in ("packages.example", "https://a b", "-x", "ftp://x", "")),
        *((values.Location, v) for v in ("-x", "/a b", "")),
        *((values.UrlPath, v) for v in ("healthz", "/a b", "", "/\n", "/ä")),
        *((values.Interpreter, v) for v in ("-c", "python 3", "$(id)", "")),
        *((values.LinuxUser, v) for v in ("Root", "1a", "a b", "-a", "")),
    ],
)
def test_a_value_that_could_do_harm_or_makes_no_sense_is_refused(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (values.Address, "gpu1.acme.example"),
        (values.Address, "10.0.0.1"),
        (values.Address, "fe80::1%eth0"),
        (values.Address, "my_alias"),
        (values.Gateway, "jump@bastion:2222"),
        (values.Repository, "/home/me/my repository"),
        (values.Repository, "git@github.com:acme/ranker.git"),
        (values.Command, "python train.py --name 'ä' && echo \"$(date)\"\n"),
        (values.Line, "Zürich `$(x)` --"),
        (values.Interpreter, "/opt/py-3.12/bin/python3.12"),
        (values.AppName, "a"),
        (values.AppName, "haproxy"),
        (values.AppName, "overdue"),
        (values.AppName, "a" * 31),
    ],
)
def test_a_harmless_value_is_taken_as_it_is(kind: Any, value: str) -> None:
    assert TypeAdapter(kind).validate_python(value) == value


@pytest.mark.parametrize(
    "ref",
    ["main", "feature/größe", "v1.2.3", "a`b", "a$(b)", "release@2", "0123abc", 'a"b', "a'b"],
)
def test_a_branch_that_git_allows_is_allowed(ref: str) -> None:
    assert git_ref(ref) == ref


@pytest.mark.parametrize(
    "ref",
    [
        *("", "@", "-x", "--upload-pack=x", "a..b", "a.", ".a", "a/.b", "a.lock", "a.lock/b"),
        *("/a", "a/", "a//b", "a b", "a\tb", "a\nb", "a\x00b", "a\x7fb", "a~1", "a^", "a:b"),
        *("a?", "a*", "a[b", "a\\b", "a@{0}", "a\u00a0b"),
    ],
)
def test_a_branch_that_git_would_refuse_is_refused(ref: str) -> None:
    with pytest.raises(ValueError, match="a branch, tag or commit"):
        git_ref(ref)
