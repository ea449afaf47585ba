"""An app with two hosts in the middle of a rollout, as a real Prometheus sees it.

Real are: the example app, trained and asked for some seconds, once as the stable host h1 behind a
real HAProxy and once as the canary h2; Prometheus with our recording rules; node_exporter, which
reads the textfile too; blackbox_exporter. Written down is what cannot run here: the GPUs, in the
words of nvidia_gpu_exporter's (h1) and dcgm-exporter's (h2) documentation. The textfile is written
with the names that aideploy's own have; what a deploy writes there has tests of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ranker_versions
from aideploy.monitoring.prometheus_api import Prometheus
from aideploy.monitoring.rules import rule_files
from aideploy.settings import Settings
from aideploy.settings.monitoring import PrometheusServer as Access
from tests.hosts_toml import TRAINED_AND_SERVED, loaded
from tests.needed import need
from tests.prometheus import PrometheusServer, exposed
from tests.web_server import free_port

HOSTS = f"""\
{TRAINED_AND_SERVED}
[monitoring]
file_sd = "/etc/prometheus/file_sd/aideploy"
textfile = "/var/lib/prometheus/node-exporter"
exporters = ["node", "nvidia", "haproxy", "blackbox"]
[monitoring.prometheus]
url = "http://mon1:9090"
[monitoring.grafana]
url = "http://mon1:3000"
[environments.production.hosts.h1]
address = "127.0.0.1"
[environments.production.hosts.h2]
address = "127.0.0.2"
[environments.production.hosts.mon1]
address = "127.0.0.3"
roles = ["monitor"]
"""
TRAFFIC_SECONDS = 12

# docs/METRICS.md and internal/integration/testdata of nvidia_gpu_exporter.
NVIDIA = """\
# TYPE nvidia_smi_gpu_info gauge
nvidia_smi_gpu_info{uuid="df6e7a7c",name="NVIDIA A10",driver_version="550.90",index="0"} 1
nvidia_smi_utilization_gpu_ratio{uuid="df6e7a7c"} 0.42
nvidia_smi_memory_used_bytes{uuid="df6e7a7c"} 7.06740224e+08
nvidia_smi_memory_free_bytes{uuid="df6e7a7c"} 2.2e+10
nvidia_smi_memory_total_bytes{uuid="df6e7a7c"} 2.3e+10
nvidia_smi_temperature_gpu{uuid="df6e7a7c"} 34
nvidia_smi_power_draw_watts{uuid="df6e7a7c"} 28.07
nvidia_smi_ecc_errors_uncorrected_volatile_total{uuid="df6e7a7c"} 0
nvidia_smi_xid_last_timestamp_seconds{uuid="df6e7a7c",xid="79"} TIME
"""
# etc/default-counters.csv of dcgm-exporter, with the labels that it gives them.
_GPU = '{gpu="0",UUID="GPU-c2f76b33",device="nvidia0",modelName="NVIDIA L4",Hostname="h2"}'
DCGM = "".join(
    f"{name}{_GPU} {value}\n"
    for name, value in {
        "DCGM_FI_DEV_GPU_UTIL": 77,
        "DCGM_FI_DEV_FB_USED": 20000,
        "DCGM_FI_DEV_FB_FREE": 2000,
        "DCGM_FI_DEV_GPU_TEMP": 81,
        "DCGM_FI_DEV_POWER_USAGE": 61.5,
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": 1,
    }.items()
)


@contextmanager
def seen(folder: Path) -> Iterator[tuple[Settings, Prometheus]]:
    """Set the scene, let some traffic pass, and give the settings and the Prometheus to ask."""
    settings = loaded(folder, HOSTS, "production")
    app = folder / "ranker"
    ranker_versions.first(app)
    train = (sys.executable, "train.py", "--rows", "20000")
    subprocess.run(train, cwd=app, check=True, stdout=subprocess.DEVNULL)
    with ExitStack() as stack:
        stable, canary = (stack.enter_context(_served(app, slot)) for slot in ("blue", "green"))
        front = stack.enter_context(_haproxy(folder, stable))
        jobs = [
            _job("app", stable, host="h1", track="stable", slot="blue"),
            _job("app", canary, host="h2", track="canary", slot="green"),
            _job("haproxy", front, path="/haproxy", host="h1"),
            *_node(stack, folder, app),
            _outside(stack, folder, front),
            *_gpus(stack),
        ]
        server = stack.enter_context(_prometheus(folder, settings, jobs))
        _ask(app, front, canary)
        access = Access.model_validate({"url": server.url, "timeout": "10s"})
        yield settings, stack.enter_context(Prometheus(access, {}, folder))


@contextmanager
def _running(*command: str, port: int, cwd: Path, **environment: str) -> Iterator[int]:
    """Run a server until the end of the body, which begins when it listens."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 30
        while not _answers(f"http://127.0.0.1:{port}/"):
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() < end, f"{command[0]} does not listen"
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def _served(app: Path, slot: str) -> Iterator[int]:
    port = free_port()
    gunicorn = (sys.executable, "-m", "gunicorn", "app:app", "--threads", "4")
    command = (*gunicorn, "--bind", f"127.0.0.1:{port}")
    with _running(*command, port=port, cwd=app, SLOT=slot, MODEL_DIR="model"):
        yield port


@contextmanager
def _haproxy(folder: Path, port: int) -> Iterator[int]:
    front = free_port()
    file = folder / "haproxy.cfg"
    file.write_text(f"""
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend users
    bind 127.0.0.1:{front}
    http-request use-service prometheus-exporter if {{ path /haproxy }}
    default_backend app
backend app
    server blue 127.0.0.1:{port} check inter 200ms
""")
    with _running(need("haproxy"), "-db", "-f", str(file), port=front, cwd=folder):
        yield front


def _node(stack: ExitStack, folder: Path, app: Path) -> Iterator[Mapping[str, object]]:
    textfiles = folder / "textfiles"
    textfiles.mkdir()
    (textfiles / "aideploy-ranker.production.prom").write_text(_textfile(app))
    port = free_port()
    command = (
        need("prometheus-node-exporter"),
        f"--web.listen-address=127.0.0.1:{port}",
        f"--collector.textfile.directory={textfiles}",
    )
    stack.enter_context(_running(*command, port=port, cwd=folder))
    for host in ("h1", "h2"):
        # As Prometheus is told for a host that may serve several apps: those are in the file.
        yield _job("node", port, app="", env="", host=host) | {"honor_labels": True}


def _textfile(app: Path) -> str:
    labels = 'app="ranker",env="production"'
    now = time.time()
    lines = [
        f'aideploy_release_info{{{labels},release="R1",revision="4f2c1aa",model="ab12"}} 1',
        f'aideploy_drift_score{{{labels},feature="device",method="psi"}} 0.03',
        f"aideploy_drift_window_rows{{{labels}}} 4200",
        f"aideploy_deploy_last_status{{{labels}}} 1",
        f"aideploy_training_last_failed{{{labels}}} 0",
        f"aideploy_training_duration_seconds{{{labels}}} 12.5",
        *(
            f"aideploy_{name}_timestamp_seconds{{{labels}}} {now - 600:.0f}"
            for name in (
                "release",
                "deploy_last_success",
                "last_revert",
                "training_last_success",
                "model_trained",
            )
        ),
        *(
            f'aideploy_model_metric{{{labels},metric="{name}",slice=""}} {value}'
            for name, value in json.loads((app / "metrics.json").read_text()).items()
            if isinstance(value, int | float)
        ),
    ]
    return "\n".join(lines) + "\n"


def _outside(stack: ExitStack, folder: Path, front: int) -> Mapping[str, object]:
    port, file = free_port(), folder / "blackbox.yml"
    file.write_text("modules: {http_2xx: {prober: http, timeout: 2s}}\n")
    program = need("prometheus-blackbox-exporter")
    command = (program, f"--web.listen-address=127.0.0.1:{port}", f"--config.file={file}")
    stack.enter_context(_running(*command, port=port, cwd=folder))
    asked = {"module": ["http_2xx"], "target": [f"http://127.0.0.1:{front}/healthz"]}
    return _job("blackbox", port, path="/probe", host="h1") | {"params": asked}


def _gpus(stack: ExitStack) -> Iterator[Mapping[str, object]]:
    texts = {"h1": NVIDIA.replace("TIME", f"{time.time():.0f}"), "h2": DCGM}
    for host, text in texts.items():
        port = stack.enter_context(exposed(text)).port
        yield _job("nvidia", port, app="", env="", host=host)


def _job(kind: str, port: int, *, path: str = "/metrics", **labels: str) -> dict[str, object]:
    known = {"app": "ranker", "env": "production", **labels}
    return {
        "job_name": f"{kind}-{labels['host']}",
        "metrics_path": path,
        "static_configs": [
            {
                "targets": [f"127.0.0.1:{port}"],
                "labels": {name: value for name, value in known.items() if value},
            }
        ],
    }


@contextmanager
def _prometheus(
    folder: Path, settings: Settings, jobs: list[Mapping[str, object]]
) -> Iterator[PrometheusServer]:
    rules = folder / "rules"
    rules.mkdir()
    for name, text in rule_files(settings).items():
        (rules / name).write_text(text)
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{rules}/*.yml"],
        "scrape_configs": jobs,
    }
    with PrometheusServer(folder / "prometheus", json.dumps(configuration)) as server:
        yield server


def _ask(app: Path, *ports: int) -> None:
    """Ask both hosts what users ask, now and then something that they refuse."""
    questions = [
        json.dumps(json.loads(line)["request"]).encode()
        for line in (app / "golden.jsonl").read_text().splitlines()
    ]
    end = time.monotonic() + TRAFFIC_SECONDS
    number = 0
    while time.monotonic() < end:
        number += 1
        body = b"{" if number % 50 == 0 else questions[number % len(questions)]
        for port in ports:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body)
            try:
                urllib.request.urlopen(request, timeout=10).close()
            except urllib.error.HTTPError as error:
                assert error.code == 400
        time.sleep(0.05)
