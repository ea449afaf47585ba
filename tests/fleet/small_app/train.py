"""The training of the small app: as slow and as large as `behaviour.json` of its commit says."""

import json
import os
import random
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
while behaviour.get("floods"):
    print("x" * 1000)
time.sleep(behaviour.get("trains_for", 0))
Path("metrics.json").write_text('{"auc": 0.7}')
