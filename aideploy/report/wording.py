"""How durations and groups of hosts are written, the same in every reader."""

from __future__ import annotations

from collections.abc import Sequence

from aideploy.report.safe_text import harmless


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use: `0.4s`, `59.9s`, `1m 05s`, `2h 03m`."""
    if seconds < 59.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def bytes_count(number: int) -> str:
    """Bytes in the unit that a person would use: `512 B`, `3.4 MB`, `1.1 GB` (powers of 1000)."""
    if number < 1000:
        return f"{number} B"
    amount, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}" if amount < 99.5 else f"{amount:.0f} {unit}"


def host_count(number: int) -> str:
    """`1 host`, `3 hosts`."""
    return "1 host" if number == 1 else f"{number} hosts"


def host_names(hosts: Sequence[str], at_most: int) -> str:
    """The names, at most so many of them: `gpu1, gpu2 and 198 more`."""
    named = ", ".join(harmless(host) for host in hosts[:at_most])
    rest = len(hosts) - at_most
    return f"{named} and {rest} more" if rest > 0 else named


def one_or_count(hosts: Sequence[str]) -> str:
    """The name of the only host, or how many they are."""
    return harmless(hosts[0]) if len(hosts) == 1 else host_count(len(hosts))


def joined(*parts: object) -> str:
    """The parts that say something, as `batch 2 of 4, paused by ana@laptop`."""
    return ", ".join(text for text in map(str, parts) if text)
