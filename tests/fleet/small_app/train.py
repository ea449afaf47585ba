"""The training of the small app: as slow and as large as `behaviour.json` of its commit says."""

import json
import os
import random
import sys
import time
from pathlib import Path

behaviour = json.loads(Path("behaviour.json").read_text())
# The same commit makes the same model.
noise = random.Random(os.environ["REVISION"])
Path("model").mkdir()
with Path("model/model").open("wb") as file:
    for _ in range(behaviour.get("model_megabytes", 0)):
        file.write(noise.randbytes(1 << 20))
    file.write(os.environ["REVISION"].encode())
print("training", flush=True)
# Until somebody puts this file there.
tick = 0
while "trains_until" in behaviour and not Path(behaviour["trains_until"]).exists():
    print(f"tick {tick}", flush=True)
    tick += 1
    time.sleep(0.1)
# Until there is memory no more.
hoard = []
while behaviour.get("hoards"):
    hoard.append(b"x" * (1 << 20))
    time.sleep(0.01)
time.sleep(behaviour.get("trains_for", 0))
Path("metrics.json").write_text('{"auc": 0.7}')
sys.exit(behaviour.get("training_ends_with", 0))
