"""Every fault in every phase, on real hosts under load: users notice nothing."""

from __future__ import annotations

import pytest

from tests.faults.bench import Bench, Seen
from tests.faults.matrix import ALWAYS, Cell, Check, cells, known
from tests.faults.table import WriteRow

pytestmark = [pytest.mark.fleet, pytest.mark.bench]

TITLE = "Faults, in a deploy with blue_green to three hosts under 100 requests a second"


def parameters() -> list[object]:
    return [
        pytest.param(cell, id=str(cell), marks=[] if cell in ALWAYS else [pytest.mark.slow])
        for cell in cells()
    ]


@pytest.mark.parametrize("cell", parameters())
def test_whatever_breaks_users_notice_nothing_and_one_deploy_makes_it_clean(
    behind_haproxy: Bench, write_row: WriteRow, cell: Cell
) -> None:
    seen = behind_haproxy.play(cell)

    reasons = {check: known(cell, check) for check in seen.problems}
    write_row(TITLE, row(cell, seen, reasons))
    unexpected = [f"{check}: {seen.problems[check]}" for check, why in reasons.items() if not why]
    assert not unexpected, "\n".join(unexpected)


def row(cell: Cell, seen: Seen, reasons: dict[Check, str]) -> dict[str, str]:
    result = "; ".join(f"{check}: {why or 'FAILED'}" for check, why in reasons.items())
    return {
        "fault": cell.fault,
        "phase": cell.phase,
        "where": cell.where,
        "exit status": "none" if seen.status is None else str(seen.status),
        "requests": str(seen.requests),
        "failed": str(seen.failed),
        "to what was down": str(seen.excused),
        "then together after": f"{seen.back_seconds:.1f} s",
        "result": result or "holds",
    }
