"""Promises of hosts.toml: what it means, and that every mistake is met before a connection."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest
from pydantic import ValidationError

from aideploy.errors import ExitStatus, SettingsError, UsageError
from aideploy.settings import Role, Settings, load
from aideploy.settings.app import Source
from aideploy.settings.serve import Manager, Strategy

SMALLEST = """\
[app]
name = "ranker"
repository = "git@github.com:acme/ranker.git"

[train]
command = "python train.py"

[serve]
command = "gunicorn app:app --bind 127.0.0.1:$PORT"

[environments.production.hosts.gpu1]
address = "gpu1.acme.example"
"""

TWO_ENVIRONMENTS = """\
[app]
name = "ranker"
repository = "git@github.com:acme/ranker.git"

[ssh]
user = "deploy"
key = "keys/deploy"
connect_timeout = "5s"

[serve]
command = "run"
port = 9000
environment = { LOG_LEVEL = "info", WORKERS = "4" }

[environments.production.hosts.web1]
address = "web1"
port = 2222
user = "root"
[environments.production.hosts.web2]
address = "web2"
roles = ["serve"]
[environments.production.hosts.eyes]
address = "eyes"
roles = ["monitor"]

[environments.staging.ssh]
port = 2200
[environments.staging.serve]
port = 60000
[environments.staging.serve.environment]
LOG_LEVEL = "debug"
[environments.staging.hosts.stage1]
address = "stage1"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hosts.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(tmp_path: Path, text: str, environment: str | None = None) -> Settings:
    return load(write(tmp_path, text), environment)


def problems(tmp_path: Path, text: str) -> list[str]:
    """The lines of the mistakes, without the name of the file."""
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, None)
    assert caught.value.status == ExitStatus.USAGE
    assert all(problem.startswith(f"{path}:") for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_the_smallest_file_is_enough(tmp_path: Path) -> None:
    settings = read(tmp_path, SMALLEST)
    assert len(SMALLEST.splitlines()) < 15
    assert settings.environment == "production"
    assert settings.app.branch == "main"
    assert settings.app.source is Source.PULL
    assert settings.app.deploy_to == PurePosixPath("/srv/ranker")
    assert settings.serve and settings.train
    assert settings.test is None
    assert settings.serve.strategy is Strategy.BLUE_GREEN
    assert settings.serve.slot_ports == (18000, 18001)
    assert settings.serve.manager is Manager.SYSTEMD
    assert settings.serve.user == "ranker"
    assert settings.serve.slot_port == 18000
    assert settings.train.timeout == timedelta(hours=6)
    assert settings.health.interval == timedelta(seconds=1)
    (host,) = settings.hosts
    assert (host.name, host.address) == ("gpu1", "gpu1.acme.example")
    assert host.roles == {Role.TRAIN, Role.SERVE}
    assert (host.user, host.port, host.key, host.gateway) == (None, None, None, None)
    assert host.connect_timeout == timedelta(seconds=10)


@pytest.mark.parametrize(
    ("lines", "strategy"),
    [
        ("manager = 'systemd-user'", Strategy.BLUE_GREEN),
        ("gpus = 1", Strategy.RECREATE),
        ("gpus = 1\nstrategy = 'blue_green'", Strategy.BLUE_GREEN),
        ("manager = 'supervisor'", Strategy.RECREATE),
    ],
)
def test_two_releases_run_beside_each_other_where_they_can(
    tmp_path: Path, lines: str, strategy: Strategy
) -> None:
    settings = read(tmp_path, HEAD + SERVE + lines + "\n" + HOST)
    assert settings.serve
    assert settings.serve.strategy is strategy


def test_the_time_to_confirm_is_longer_than_the_bake(tmp_path: Path) -> None:
    def confirm(rollout: str) -> timedelta:
        return read(tmp_path, f"{SMALLEST}[rollout]\n{rollout}").rollout.confirm

    assert confirm("") == timedelta(minutes=10)
    assert confirm("bake = '20m'") == timedelta(minutes=40)
    assert confirm("bake = '20m'\nconfirm = '21m'") == timedelta(minutes=21)
    assert confirm("bake = '0s'\nconfirm = '1s'") == timedelta(seconds=1)
    short = f"{SMALLEST}[rollout]\nbake = '2m'\nconfirm = '90s'"
    assert problems(tmp_path, short) == [
        "15: rollout.confirm: found 90 s, expected more than the bake of 120 s"
    ]


def test_an_environment_overrides_key_by_key(tmp_path: Path) -> None:
    production = read(tmp_path, TWO_ENVIRONMENTS, "production")
    staging = read(tmp_path, TWO_ENVIRONMENTS, "staging")
    assert production.serve and staging.serve
    assert (production.serve.port, production.serve.slot_port) == (9000, 19000)
    assert (staging.serve.port, staging.serve.slot_port) == (60000, 50000)
    assert staging.serve.command == "run"
    assert staging.serve.environment == {"LOG_LEVEL": "debug", "WORKERS": "4"}
    assert production.serve.environment == {"LOG_LEVEL": "info", "WORKERS": "4"}


def test_a_host_says_what_differs_from_the_ssh_table(tmp_path: Path) -> None:
    web1, web2, _ = read(tmp_path, TWO_ENVIRONMENTS, "production").hosts
    (stage1,) = read(tmp_path, TWO_ENVIRONMENTS, "staging").hosts
    assert (web1.user, web1.port) == ("root", 2222)
    assert (web2.user, web2.port) == ("deploy", None)
    assert (stage1.user, stage1.port) == ("deploy", 2200)
    assert web1.key == tmp_path / "keys/deploy"
    assert web1.connect_timeout == timedelta(seconds=5)


def test_a_key_below_home_is_found_there(tmp_path: Path) -> None:
    text = SMALLEST + 'key = "~/.ssh/id"\nknown_hosts = "/etc/known"\n'
    (host,) = read(tmp_path, text).hosts
    assert host.key == Path.home() / ".ssh/id"
    assert host.known_hosts == Path("/etc/known")


def test_hosts_are_found_by_role_and_by_name(tmp_path: Path) -> None:
    settings = read(tmp_path, TWO_ENVIRONMENTS, "production")
    assert [host.name for host in settings.with_role(Role.SERVE)] == ["web1", "web2"]
    assert [host.name for host in settings.with_role(Role.MONITOR)] == ["eyes"]
    assert [host.name for host in settings.only(["eyes", "web1"]).hosts] == ["web1", "eyes"]


def test_an_unknown_host_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    settings = read(tmp_path, TWO_ENVIRONMENTS, "production")
    with pytest.raises(UsageError) as caught:
        settings.only(["web1", "wbe2"])
    assert "wbe2" in caught.value.what
    assert "did you mean web2?" in caught.value.why
    assert "web1, web2, eyes" in caught.value.next_step
    with pytest.raises(UsageError):
        settings.only([])


def test_nobody_changes_settings(tmp_path: Path) -> None:
    settings = read(tmp_path, SMALLEST)
    with pytest.raises(FrozenInstanceError):
        settings.environment = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.app.branch = "other"
    with pytest.raises(ValidationError):
        settings.hosts[0].address = "other"


def test_the_environment_is_asked_for_or_default_or_the_only_one(tmp_path: Path) -> None:
    with_default = TWO_ENVIRONMENTS.replace("[app]", '[app]\ndefault_environment = "staging"', 1)
    assert read(tmp_path, TWO_ENVIRONMENTS, "staging").environment == "staging"
    assert read(tmp_path, with_default).environment == "staging"
    assert read(tmp_path, with_default, "production").environment == "production"
    assert read(tmp_path, SMALLEST).environment == "production"


@pytest.mark.parametrize("environment", [None, "prodution", "", "../x"])
def test_an_environment_that_is_not_clear_is_an_error_that_names_them(
    tmp_path: Path, environment: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, TWO_ENVIRONMENTS, environment)
    assert "production, staging" in caught.value.next_step
    if environment == "prodution":
        assert "did you mean production?" in caught.value.why


def test_every_mistake_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
[app]
name = "Ranker"
repository = "x"
brnch = "main"

[serv]
port = 1

[serve]
command = "run"
port = "80"
strategy = "green_blue"
image = "x"

[notifies]
metric = "auc"

[environments.production.serve]
memory_max = "4X"
port = 99999

[environments.production.hosts.web1]
adress = "web1"
"""
    found = problems(tmp_path, text)
    assert [line.split(": ")[:2] for line in found] == [
        ["2", "app.name"],
        ["4", "app.brnch"],
        ["6", "serv"],
        ["11", "serve.port"],
        ["12", "serve.strategy"],
        ["13", "serve.image"],
        ["15", "notifies"],
        ["19", "environments.production.serve.memory_max"],
        ["20", "environments.production.serve.port"],
        ["22", "environments.production.hosts.web1.address"],
        ["23", "environments.production.hosts.web1.adress"],
    ]
    assert "did you mean branch?" in found[1]
    assert "did you mean serve?" in found[2]
    assert "found '80' (a text), expected a whole number" in found[3]
    assert "expected an image with a tag or a digest" in found[5]
    assert "did you mean notify?" in found[6]
    assert 'expected "blue_green", "recreate" or "socket"' in found[4]
    assert "did you mean address?" in found[10]


def test_a_mistake_in_another_environment_is_met_as_well(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_ENVIRONMENTS.replace("port = 60000", "prot = 60000"))
    with pytest.raises(SettingsError) as caught:
        load(path, "production")
    (problem,) = caught.value.problems
    assert "environments.staging.serve.prot" in problem


def test_a_table_may_be_completed_by_the_environment(tmp_path: Path) -> None:
    text = SMALLEST.replace('command = "python train.py"', 'timeout = "1h"')
    text += '[environments.production.train]\ncommand = "train-on-gpu"\n'
    train = read(tmp_path, text).train
    assert train
    assert (train.command, train.timeout) == ("train-on-gpu", timedelta(hours=1))


HEAD = '[app]\nname = "ranker"\nrepository = "x"\n'
HOST = '[environments.p.hosts.h1]\naddress = "h1"\n'
SERVE = '[serve]\ncommand = "run"\n'
WEIGHTS = "[rollout]\nweights = "
GOLDEN = '[golden]\nfile = "golden.jsonl"\n'


def in_app(lines: str) -> str:
    return f"{HEAD}{lines}\n{SERVE}{HOST}"


def in_serve(lines: str) -> str:
    return f"{HEAD}{SERVE}{lines}\n{HOST}"


def in_host(lines: str) -> str:
    return f"{HEAD}{SERVE}{HOST}{lines}\n"


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("[app]\nrepository = 'x'\n" + SERVE + HOST, 1, "app.name", "missing"),
        (HEAD + SERVE, 1, "environments", "missing"),
        ("environments = 3\n" + HEAD + SERVE, 1, "environments", "one host at least"),
        (HEAD + SERVE + "[environments.p]\n", 6, "environments.p.hosts", "one host at least"),
        (HEAD + SERVE + "[environments]\np = 3\n", 7, "environments.p", "found 3 (a number)"),
        (HEAD + SERVE + "[environments.P.hosts.h]\naddress='h'\n", 6, "environments.P", "name"),
        (
            HEAD + SERVE + "[environments.p.hosts]\nh = 'h'\n",
            7,
            "environments.p.hosts.h",
            "a table",
        ),
        (in_host("name = 'h'"), 8, "environments.p.hosts.h1.name", "unknown key"),
        (in_host("max_connects = 3"), 8, "environments.p.hosts.h1.max_connects", ""),
        (in_host("roles = []"), 8, "environments.p.hosts.h1.roles", "at least 1"),
        (in_host("roles = ['x']"), 8, "environments.p.hosts.h1.roles[0]", '"train"'),
        (in_host("gpus = -1"), 8, "environments.p.hosts.h1.gpus", "at least 0"),
        (in_app("keep_releases = 0"), 4, "app.keep_releases", "at least 1"),
        (in_app("keep_releases = true"), 4, "app.keep_releases", "whole number"),
        (in_app("branch = 2026-01-01"), 4, "app.branch", "found 2026-01-01"),
        (in_app("branch = '-x'"), 4, "app.branch", "dash"),
        (in_app("default_environment = 'q'"), 4, "app.default_environment", "p"),
        (
            in_host("[environments.p.app]\ndefault_environment = 'p'"),
            9,
            "environments.p.app.default_environment",
            "belongs in [app]",
        ),
        (HEAD + "[[serve]]\ncommand = 'x'\n" + HOST, 4, "serve", "found a list, expected a table"),
        (in_app("[health]\npath = 'x'"), 5, "health.path", "'/'"),
        (in_app("[health]\njson = { a = [] }"), 5, "health.json.a", "empty list"),
        (in_app("[golden]\nlast = 3"), 4, "golden.file", "missing"),
        (in_app(GOLDEN + "tolerance = -1"), 6, "golden.tolerance", "of at least 0"),
        (in_app(GOLDEN + "tolerance_rel = nan"), 6, "golden.tolerance_rel", "at least 0"),
        (in_app(GOLDEN + "max_latency = '0s'"), 6, "golden.max_latency", "longer than"),
        (in_app(GOLDEN + "last = 0"), 6, "golden.last", "at least 1"),
        (in_app("[golden]\nfile = '../g'"), 5, "golden.file", "without '..'"),
        (HEAD + GOLDEN + HOST + "roles = ['train']\n", 4, "golden", "nothing is served"),
        (
            in_app("[rollout]\non_inconclusive = 'wait'"),
            5,
            "rollout.on_inconclusive",
            '"hold", "rollback" or "promote"',
        ),
        (in_app(WEIGHTS + "['0%']"), 5, "rollout.weights[0]", '"1%" to "99%"'),
        (in_app(WEIGHTS + "['100%']"), 5, "rollout.weights[0]", '"1%" to "99%"'),
        (in_app(WEIGHTS + "[5]"), 5, "rollout.weights[0]", '"1%" to "99%"'),
        (in_app(WEIGHTS + "['25%', '5%']"), 5, "rollout.weights[1]", "5% after 25%"),
        (in_app(WEIGHTS + "['5%', '5%']"), 5, "rollout.weights[1]", "expected more"),
        (
            HEAD + WEIGHTS + "['5%']\n" + SERVE + "strategy = 'socket'\n" + HOST,
            5,
            "rollout.weights",
            'only "blue_green" can share',
        ),
        (in_app("[notify]"), 4, "notify", "nobody is told"),
        (in_app("[notify]\nslack = 'ftp://x'"), 5, "notify.slack", "https://"),
        (in_app("[notify]\nslack = 'A'\non = ['succes']"), 6, "notify.on[0]", '"success"'),
        (
            in_app("[hooks]\nbefore_swich = 'x'"),
            5,
            "hooks.before_swich",
            "did you mean before_switch?",
        ),
        (in_app("[hooks]\nafter_stage = ' '"), 5, "hooks.after_stage", "a command"),
        (in_app("[hooks]\nafter_test = 'x'"), 5, "hooks.after_test", "no [test]"),
        (in_app("[hooks]\nbefore_train = 'x'"), 5, "hooks.before_train", "no [train]"),
        (in_app("[ssh]\nzzz = 1"), 5, "ssh.zzz", "known: connect_timeout, "),
        # What does not fit together.
        (HEAD + HOST, 1, "serve", 'h1 has the role "serve"'),
        (in_host("roles = ['train']"), 4, "serve", 'no host has the role "serve"'),
        (
            HEAD + SERVE + "[train]\ncommand = 't'\n" + HOST + "roles = ['serve']\n",
            6,
            "train",
            'no host has the role "train"',
        ),
        (
            HEAD + SERVE + "[test]\ncommand = 't'\n" + HOST + "roles = ['serve']\n",
            6,
            "test",
            'no host has the role "train"',
        ),
        (
            in_serve("[monitoring]\nfile_sd = '/etc/prometheus/sd'"),
            6,
            "monitoring",
            'no host has the role "monitor"',
        ),
        (
            in_host("[environments.p.hosts.h2]\naddress = 'H1'"),
            9,
            "environments.p.hosts.h2.address",
            "the address of h1 too",
        ),
        (in_serve("slot_port = 8000"), 6, "serve.slot_port", "the port of the"),
        (
            in_serve("slot_ports = [9000, 8000]"),
            6,
            "serve.slot_ports",
            "the port that users reach, expected two others",
        ),
        (in_serve("slot_ports = [9000, 9000]"), 6, "serve.slot_ports", "9000 twice"),
        (
            in_serve("manager = 'supervisor'\nstrategy = 'blue_green'"),
            7,
            "serve.strategy",
            'found "blue_green", which needs systemd',
        ),
        (
            in_serve("manager = 'supervisor'\nstrategy = 'socket'"),
            7,
            "serve.strategy",
            "needs systemd",
        ),
        (
            in_serve("manager = 'supervisor'\nmemory_max = '1G'"),
            7,
            "serve.memory_max",
            "cannot limit",
        ),
        (
            in_serve("manager = 'systemd-user'\nuser = 'me'"),
            7,
            "serve.user",
            "the user that logs in",
        ),
        (in_serve("environment = { PORT = '1' }"), 6, "serve.environment.PORT", "sets PORT itself"),
        (in_serve("secrets = ['SLOT']"), 6, "serve.secrets[0]", "sets SLOT itself"),
        # Our scripts have variables of that name.
        (in_serve("environment = { root = '/' }"), 6, "serve.environment.root", "a capital letter"),
        (in_serve("secrets = ['job']"), 6, "serve.secrets[0]", "a capital letter"),
        (
            in_serve("secrets = ['A']\nenvironment = { A = 'x' }"),
            6,
            "serve.secrets[0]",
            "one of the two",
        ),
        (in_serve("secrets_file = '.env'"), 6, "serve.secrets_file", "no names"),
        (in_serve("linked = ['model/']"), 6, "serve.linked[0]", "of its own"),
        (in_serve("linked = ['a/', 'a/b']"), 6, "serve.linked[1]", "overlaps"),
        (
            in_serve("[install]\ntool = 'pip'\nrequirements = ['uv.lock']"),
            8,
            "install.requirements",
            "pip cannot read",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_key(
    tmp_path: Path, text: str, line: int, key: str, words: str
) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f"{line}: {key}: ")
    assert words in problem


def test_what_no_environment_can_do_without_is_missed_once(tmp_path: Path) -> None:
    other = '[environments.q.hosts.h1]\naddress = "h1"\n[environments.q.app]\nname = "ranker"\n'
    assert [problem.split(";")[0] for problem in problems(tmp_path, SERVE + HOST + other)] == [
        "1: app.name: missing",
        "1: app.repository: missing",
        "7: environments.q.app.repository: missing",
    ]


def test_hosts_behind_one_address_differ_by_port(tmp_path: Path) -> None:
    text = HEAD + SERVE
    for port in (2201, 2202):
        text += f"[environments.p.hosts.h{port}]\naddress = '127.0.0.1'\nport = {port}\n"
    assert len(read(tmp_path, text).hosts) == 2


def test_a_project_that_only_trains_needs_no_serve_table(tmp_path: Path) -> None:
    text = HEAD + "[train]\ncommand = 't'\n" + HOST + "roles = ['train']\n"
    assert read(tmp_path, text).serve is None


def test_no_message_repeats_what_may_be_a_secret(tmp_path: Path) -> None:
    secret = "hunter2"
    text = f"""\
[app]
name = "ranker"
repository = "-https://me:{secret}@git.acme.example/x"
[install]
index_url = "pypi:{secret}@x y"
find_links = "a {secret}"
environment = "TOKEN={secret}"
[train]
command = "a\\u0000{secret}"
environment = {{ "TOKEN={secret}" = "x", A = "{secret}\\n" }}
[serve]
command = ["{secret}"]
secrets = ["TOKEN={secret}"]
secrets_command = "\\u0000{secret}"
environment = {{ PORT = "{secret}" }}
[environments.p.hosts.h]
address = "h"
"""
    found = problems(tmp_path, text)
    assert len(found) >= 9
    assert secret not in "\n".join(found)


def test_variables_in_small_letters_are_those_of_proxies(tmp_path: Path) -> None:
    proxied = "environment = { https_proxy = 'http://proxy.example', MyVar_1 = 'x' }\n"
    serve = read(tmp_path, HEAD + SERVE + proxied + HOST).serve
    assert serve
    assert serve.environment == {"https_proxy": "http://proxy.example", "MyVar_1": "x"}


def test_settings_that_are_printed_keep_environment_values_to_themselves(tmp_path: Path) -> None:
    text = HEAD + SERVE + "environment = { TOKEN = 'hunter2' }\n" + HOST
    assert "hunter2" not in repr(read(tmp_path, text))


def test_what_is_shown_cannot_play_with_the_terminal(tmp_path: Path) -> None:
    text = HEAD + 'branch = "\\u001b[2J\\u202e"\n"\\u001b[31m" = 1\n' + SERVE + HOST
    found = "\n".join(problems(tmp_path, text))
    assert "\x1b" not in found
    assert "\u202e" not in found


@pytest.mark.parametrize(
    ("content", "what", "why"),
    [
        (b"", "is empty", ""),
        (b" \n\t\n", "is empty", ""),
        (b"\x7fELF\x00\x01\x02", "is a binary file", ""),
        (HEAD.encode("utf-16"), "is a binary file", ""),
        (b'[app]\nname = "caf\xe9"\n', "is not UTF-8 text", "hosts.toml:2: found the byte 0xe9"),
        (b"[app]\nname = ranker\n", "is not valid TOML", "hosts.toml:2:8: "),
        (b"[app]\n[app]\n", "is not valid TOML", "hosts.toml:2:5: "),
        (b"app: {name: x}\n", "is not valid TOML", "hosts.toml:1:4: "),
        (b'[app]\nname = "x', "is not valid TOML", "hosts.toml"),
        (b"a = " + b"[" * 5000, "is not valid TOML", "nested too deeply"),
        (b"a = " + b"1" * 5000, "is not valid TOML", "5000"),
        (b"#" * (2**20 + 1), "is larger than 1 MiB", ""),
    ],
)
def test_a_file_that_is_no_settings_is_said_to_be_that(
    tmp_path: Path, content: bytes, what: str, why: str
) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load(path, None)
    assert what in caught.value.what
    assert why in caught.value.why
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["missing.toml", ".", "file/below", "nul\0", "x" * 300])
def test_a_path_that_cannot_be_read_is_a_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / name, None)
    if name == "missing.toml":
        assert "fab init" in caught.value.next_step


def test_a_mark_that_an_editor_puts_before_utf_8_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())
    assert load(path, None).app.name == "ranker"


# -- lists of tables -------------------------------------------------------------------------------

GATED = """\
[app]
name = "ranker"
repository = "x"
[train]
command = "t"
[serve]
command = "s"

[[gate]]
metric = "auc"
min = 0.7
[[gate]]
metric = "auc"
slice = "new users"
max_drop_rel = 0.05

[environments.production.hosts.web1]
address = "web1"

[environments.staging.hosts.web2]
address = "web2"
[[environments.staging.gate]]
metric = "loss"
greater_is_better = false
max = 1

[environments.trial]
gate = []
[environments.trial.hosts.web3]
address = "web3"
"""


def test_an_environment_has_the_gates_of_all_or_a_list_of_its_own(tmp_path: Path) -> None:
    gates = {
        name: [(gate.metric, gate.slice) for gate in read(tmp_path, GATED, name).gates]
        for name in ("production", "staging", "trial")
    }
    assert gates == {
        "production": [("auc", None), ("auc", "new users")],
        "staging": [("loss", None)],
        "trial": [],
    }


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "says"),
    [
        ("min = 0.7", "mim = 0.7", 11, "gate[0].mim", "did you mean min?"),
        ("min = 0.7", "", 9, "gate[0]", "expected a limit at least: min, max"),
        ("min = 0.7", "min = '0.7'", 11, "gate[0].min", "expected a number without quotes"),
        ("min = 0.7", "min = true", 11, "gate[0].min", "expected a number without quotes"),
        ("min = 0.7", "min = nan", 11, "gate[0].min", "expected a finite number"),
        ("min = 0.7", "min = -inf", 11, "gate[0].min", "expected a finite number"),
        ("min = 0.7", "min = 2\nmax = 1", 9, "gate[0]", "a min that is not above max"),
        ("min = 0.7", "max_gain = -1", 11, "gate[0].max_gain", "not below 0"),
        ("rel = 0.05", "rel = 5", 15, "gate[1].max_drop_rel", "a share from 0 to 1"),
        ('"new users"', '" new"', 14, "gate[1].slice", "no space first or last"),
        ('"new users"', "3", 14, "gate[1].slice", "a text in quotes"),
        ('slice = "new users"', "", 12, "gate[1]", "gate[0] judges the same"),
        ('metric = "loss"', "", 22, "environments.staging.gate[0].metric", "missing"),
        ("max = 1", "max = 'x'", 25, "environments.staging.gate[0].max", "a number"),
        ("gate = []", "gate = 3", 28, "environments.trial.gate", "below a line [[gate]]"),
        ("gate = []", "gate = [3]", 28, "environments.trial.gate[0]", "expected a table"),
        ("[train]\ncommand", "[train]\ntimeout", 4, "train.command", "missing"),
    ],
)
def test_a_mistake_in_a_gate_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, key: str, says: str
) -> None:
    assert GATED.count(old) == 1
    found = problems(tmp_path, GATED.replace(old, new))
    assert [one for one in found if one.startswith(f"{line}: {key}: ") and says in one], found


def test_a_table_where_a_list_belongs_is_told_how_to_write_it(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, SMALLEST + "[gate]\nmetric = 'auc'\nmin = 1\n")
    assert found == "13: gate: found a table, expected a list of tables, each below a line [[gate]]"


def test_a_gate_without_a_training_would_judge_nothing(tmp_path: Path) -> None:
    text = SMALLEST.replace('[train]\ncommand = "python train.py"\n', "")
    (found,) = problems(tmp_path, text + "[[gate]]\nmetric = 'auc'\nmin = 1\n")
    assert "there is no [train] whose metrics could be judged" in found


IMAGE = "image = 'registry.example/team/app:1'\n"


@pytest.mark.parametrize(
    ("serve", "key", "said"),
    [
        ("port = 80", "serve.command", "missing; expected: the command that serves, or image"),
        ("image = 'app'", "serve.image", "expected an image with a tag or a digest"),
        ("image = '$(reboot):1'", "serve.image", "expected an image with a tag or a digest"),
        ("image = '--rm:1'", "serve.image", "expected an image with a tag or a digest"),
        ("image = 'app@sha256:12'", "serve.image", "expected an image with a tag or a digest"),
        (f"{IMAGE}dockerfile = 'Dockerfile'", "serve.dockerfile", "expected one of the two"),
        ("dockerfile = '../Dockerfile'", "serve.dockerfile", "a path inside the project"),
        (f"{IMAGE}manager = 'systemd'", "serve.manager", 'expected "systemd-user"'),
        (f"{IMAGE}strategy = 'socket'", "serve.strategy", 'expected "blue_green" or "recreate"'),
        (f"{IMAGE}user = 'app'", "serve.user", 'expected no key "user"'),
        (f"{IMAGE}runtime = 'runc'", "serve.runtime", 'expected "podman" or "docker"'),
        ("command = 'run'\nruntime = 'docker'", "serve.runtime", "found without a container"),
    ],
)
def test_a_container_that_cannot_be_run_is_refused(
    tmp_path: Path, serve: str, key: str, said: str
) -> None:
    hosts = "[environments.production.hosts.web1]\naddress = 'web1'\n"
    text = f"[app]\nname = 'app'\nrepository = '/r'\n[serve]\n{serve}\n{hosts}"
    [problem] = problems(tmp_path, text)
    assert key in problem
    assert said in problem
