"""`python -m tests.lab.clean`: remove what killed runs left. Labs that are in use stay."""

from __future__ import annotations

from tests.lab.registry import remove_abandoned

if __name__ == "__main__":
    for number in remove_abandoned():
        print(f"removed lab {number}")
