"""The dashboard of the GPUs: are they busy, full, hot, or broken?

It reads nvidia_gpu_exporter (`nvidia_smi_*`) and, on hosts that run that instead, NVIDIA's
dcgm-exporter (`DCGM_FI_*`): each query asks for both and brings their labels together.

Sources: nvidia_gpu_exporter, docs/METRICS.md; dcgm-exporter, etc/default-counters.csv.
"""

from __future__ import annotations

from aideploy.monitoring.dashboards.board import EVERY_HOST, OF_HOSTS, Board, Row
from aideploy.monitoring.dashboards.panels import Bounds, Line, graph, number

# XIDs after which a GPU has to be reset or the host restarted; others are faults of programs.
_XID = "48|62|64|74|79|95|119|120"
_EACH = "{{host}} {{gpu}}"
_MIB = 1024 * 1024


def gpus() -> Board:
    """Return the dashboard."""
    busy = _either("nvidia_smi_utilization_gpu_ratio", "DCGM_FI_DEV_GPU_UTIL", "/ 100")
    used = _either("nvidia_smi_memory_used_bytes", "DCGM_FI_DEV_FB_USED", f"* {_MIB}")
    free = _either("nvidia_smi_memory_free_bytes", "DCGM_FI_DEV_FB_FREE", f"* {_MIB}")
    hot = _either("nvidia_smi_temperature_gpu", "DCGM_FI_DEV_GPU_TEMP")
    watts = _either("nvidia_smi_power_draw_watts", "DCGM_FI_DEV_POWER_USAGE")
    xids = f'nvidia_smi_xid_last_timestamp_seconds{{{OF_HOSTS},xid=~"{_XID}"}}'
    return Board(
        kind="gpus",
        title="GPUs",
        says="Are the GPUs of the app's hosts busy, full, hot or broken?",
        choices=(EVERY_HOST,),
        rows=(
            Row(
                "Now",
                (
                    number("GPUs", Line(f"count({busy})"), says="How many GPUs report."),
                    number("Busy", Line(f"avg({busy})"), unit="percentunit", says="On average."),
                    number(
                        "Fullest",
                        Line(f"max(({used}) / (({used}) + ({free})))"),
                        unit="percentunit",
                        says="Memory used, of the GPU that has the least left.",
                        bounds=Bounds(0.9, 0.97),
                    ),
                    number(
                        "Hottest",
                        Line(f"max({hot})"),
                        unit="celsius",
                        bounds=Bounds(80, 87),
                    ),
                    number("Power", Line(f"sum({watts})"), unit="watt"),
                    number(
                        "Critical XIDs today",
                        Line(f"count(time() - {xids} < 86400) or vector(0)"),
                        says="Errors after which a GPU is to be reset or its host restarted "
                        f"(XID {_XID.replace('|', ', ')}). nvidia_gpu_exporter tells them with its "
                        "NVML backend only.",
                        bounds=Bounds(1, 1),
                    ),
                ),
            ),
            Row(
                "Work",
                (
                    graph("Busy", Line(busy, _EACH), unit="percentunit", width=12),
                    graph("Memory used", Line(used, _EACH), unit="bytes", width=12),
                ),
            ),
            Row(
                "Health",
                (
                    graph("Temperature", Line(hot, _EACH), unit="celsius", lowest=None, limit=87),
                    graph("Power", Line(watts, _EACH), unit="watt"),
                    graph(
                        "Memory that failed",
                        Line(
                            _either(
                                "nvidia_smi_ecc_errors_uncorrected_volatile_total",
                                "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
                            ),
                            _EACH,
                        ),
                        says="Uncorrected ECC errors since the driver was loaded; with "
                        "dcgm-exporter rows that were remapped after one. More than none: plan an "
                        "exchange.",
                    ),
                ),
            ),
        ),
    )


def _either(smi: str, dcgm: str, to_unit: str = "") -> str:
    """Return one series for each GPU, labelled host and gpu, whichever exporter tells of it.

    Args:
        smi: the metric of nvidia_gpu_exporter.
        dcgm: the metric of dcgm-exporter.
        to_unit: what turns the second into the unit of the first.
    """
    index = f"nvidia_smi_gpu_info{{{OF_HOSTS}}}"
    named = f"{smi}{{{OF_HOSTS}}} * on (host, uuid) group_left (index) {index}"
    in_unit = f"{dcgm}{{{OF_HOSTS}}} {to_unit}".strip()
    return (
        f'max by (host, gpu) (label_replace({named}, "gpu", "$1", "index", "(.*)"))'
        f" or max by (host, gpu) ({in_unit})"
    )
