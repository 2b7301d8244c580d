"""What the ranks of a test of shards run; apart from the test, so that they import little."""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from gainrl.config.extra import Extra
from gainrl.training.extra import Jumps


def sharded_jump(rank, folder):
    """A layer whose rows lie on two ranks: a step, a jump, and what its whole weights were."""
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    try:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 5)  # three rows and two
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

        def whole():
            return [weight.full_tensor().detach().clone() for weight in model.parameters()]

        jumps, found = Jumps(optimizer, Extra(rl=1, jump=2)), [whole()]
        model(torch.ones(4, 3)).sum().backward()
        optimizer.step()
        found.append(whole())
        jumps.after(1)
        found.append(whole())
        held = [tuple(start.shape) for start in jumps.start]
        torch.save((found, held, len(optimizer.state)), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()
