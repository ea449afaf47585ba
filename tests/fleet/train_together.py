"""A training that every host does a share of: gradients meet in an all-reduce after each step."""

import json
import os
from pathlib import Path

import torch
import torch.distributed as dist

behaviour = json.loads(Path("behaviour.json").read_text())
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
print(f"rank {rank} of {world}", flush=True)

# Every rank sees other data; all of them together are y = 3 x.
numbers = torch.Generator().manual_seed(rank)
weight = torch.zeros(1)
until = behaviour.get("trains_until")
step, goes_on = 0, torch.ones(1)
while goes_on.item() > 0:
    x = torch.rand(64, generator=numbers)
    gradient = (2 * (weight * x - 3 * x) * x).mean().reshape(1)
    dist.all_reduce(gradient)
    weight -= 0.5 * gradient / world
    if until:
        print(f"tick {step}", flush=True)
    step += 1
    # The first rank says for all whether there is another step.
    goes_on[0] = float(not Path(until).exists() if until else step < 100)
    dist.broadcast(goes_on, src=0)

if behaviour.get("fails_on_rank") == rank:
    raise SystemExit(3)
dist.barrier()
print(f"weight {weight.item():.2f}", flush=True)
if rank == 0:
    Path("model").mkdir()
    Path("model/model").write_text(f"{os.environ['REVISION']}\n")
    Path("model/weight").write_text(f"{weight.item():.2f}\n")
    Path("metrics.json").write_text('{"auc": 0.7}')
dist.destroy_process_group()
