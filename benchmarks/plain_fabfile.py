"""A fabfile as people write one: a ThreadingGroup, and one `run` for each command.

Copied beside the files `env` and `serve` of a release and run as `fab deploy` by contenders.py. It
does the steps of raw_deploy.sh and prints how many channels it opened on each host.
"""

from fabric import ThreadingGroup, task


class Hosts:
    """A group that counts what it opens."""

    def __init__(self, config, names):
        self.group = ThreadingGroup(*names, config=config)
        self.channels = 0

    def run(self, command, **options):
        self.channels += 1
        return self.group.run(command, hide=True, in_stream=False, **options)

    def put(self, local, remote):
        # A channel for SFTP is opened once and kept.
        self.group.put(local, remote)


@task
def deploy(c, hosts, app, port, repository, revision, release, tool, wheels, rows):
    """Deploy one revision to the hosts."""
    names = hosts.split(",")
    all_hosts = Hosts(c.config, names)
    run = all_hosts.run
    first = all_hosts.group[0]
    root = f"/srv/{app}"
    repo = f"{root}/repo.git"
    place = f"{root}/releases/{release}"

    run(f"mkdir {root}/lock.plain")
    try:
        fetch(run, repo, repository, revision, place)
        install(run, root, place, tool, wheels)
        test_and_train(run, all_hosts, first, names, root, place, revision, rows)
        stage(run, all_hosts, root, place, app, release, revision, int(port) + 10000)
        switch(run, root, app, release, revision, port)
        make_room(run, root)
    finally:
        run(f"rmdir {root}/lock.plain")
    print(all_hosts.channels + 1)


def fetch(run, repo, repository, revision, place):
    run(f"test -f {repo}/HEAD || git init --quiet --bare {repo}")
    run(f"git --git-dir={repo} fetch --quiet --prune {repository} '+refs/heads/*:refs/heads/*'")
    run(f"git --git-dir={repo} rev-parse --verify --quiet '{revision}^{{commit}}'")
    run(f"mkdir -p {place}")
    run(f"git --git-dir={repo} archive {revision} | tar -x -C {place}")


def install(run, root, place, tool, wheels):
    hashes = run(
        f"{{ python3 -V; uname -m; cat {place}/requirements.txt; }} | sha256sum | cut -c 1-16"
    )
    (name,) = {result.stdout.strip() for result in hashes.values()}
    venv = f"{root}/venvs/{name}"
    found = run(f"test -e {venv}/.complete && echo yes || echo no")
    if {result.stdout.strip() for result in found.values()} != {"yes"}:
        sources = f"--no-index --find-links {wheels} -r {place}/requirements.txt"
        if tool == "uv":
            run(f"uv venv --quiet --python python3 {venv}")
            run(f"uv pip install --quiet --compile-bytecode --python {venv}/bin/python {sources}")
        else:
            run(f"python3 -m venv {venv}")
            run(
                f"{venv}/bin/python -m pip install --quiet --disable-pip-version-check --no-input "
                f"{sources}"
            )
        run(f"touch {venv}/.complete")
    run(f"ln -s {venv} {place}/.venv")


def test_and_train(run, all_hosts, first, names, root, place, revision, rows):
    inside = f"cd {place} && PATH={place}/.venv/bin:$PATH REVISION={revision} RANKER_ROWS={rows}"
    for command in ("python -m unittest", "python train.py"):
        all_hosts.channels += 1
        first.run(f"{inside} {command}", hide=True, in_stream=False)
    if len(names) > 1:
        first.run(f"tar -c -f model.tar -C {place}/model .", hide=True, in_stream=False)
        first.get("model.tar", "model.tar")
        all_hosts.put("model.tar", "model.tar")
        run(f"mkdir -p {place}/model && tar -x -f model.tar -C {place}/model")
    ids = run(
        f"cd {place}/model && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | "
        "sha256sum | cut -d ' ' -f 1"
    )
    (name,) = {result.stdout.strip() for result in ids.values()}
    run(f"rm -rf {root}/models/{name}")
    run(f"mv -T {place}/model {root}/models/{name}")
    run(f"ln -s {root}/models/{name} {place}/model")


def stage(run, all_hosts, root, place, app, release, revision, port):
    run(f"mkdir -p {place}/.aideploy")
    all_hosts.put("env", f"{place}/.aideploy/env")
    all_hosts.put("serve", f"{place}/.aideploy/serve")
    run(f"echo MODEL_DIR=$(readlink {place}/model) >>{place}/.aideploy/env")
    run(f"chmod 640 {place}/.aideploy/env")
    run(f"chmod 755 {place}/.aideploy/serve")
    run(f'echo \'{{"id": "{release}", "revision": "{revision}"}}\' >{place}/release.json')
    run(f"ln -sfn ../../releases/{release} {root}/slots/staged/release")
    run(f"sudo -n systemctl start {app}@staged.service")
    healthy(run, port, revision)
    run(f"sudo -n systemctl stop {app}@staged.service")
    run(f"rm {root}/slots/staged/release")
    journal(run, root, "prepared", release, revision)


def switch(run, root, app, release, revision, port):
    run(f"ln -sfn releases/{release} {root}/current.new")
    run(f"mv -fT {root}/current.new {root}/current")
    journal(run, root, "live", release, revision)
    run(f"sudo -n systemctl restart {app}@live.service")
    healthy(run, port, revision)
    journal(run, root, "good", release, revision)


def make_room(run, root):
    run(f"ls -d {root}/releases/*/ | sort | head -n -5 | xargs -r rm -rf")
    run(
        f"used=$(readlink {root}/releases/*/.venv {root}/releases/*/model | sort -u); "
        f"for kept in {root}/venvs/* {root}/models/*; do "
        'grep -q -F -x "$kept" <<<"$used" || rm -rf "$kept"; done'
    )


def healthy(run, port, revision):
    run(
        f"for i in $(seq 600); do curl -s -f -m 5 http://127.0.0.1:{port}/healthz | "
        f"grep -q {revision} && exit 0; sleep 0.05; done; exit 1"
    )


def journal(run, root, verdict, release, revision):
    line = f'{{"verdict": "{verdict}", "release": "{release}", "revision": "{revision}"}}'
    run(f"echo '{line}' >>{root}/journal.jsonl && sync {root}/journal.jsonl")
