"""Measure the peak memory of a forward pass: the state plus all that is allocated at one time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def measure_peak_memory_mib(network: nn.Module, batch: Tensor) -> float:
    """Return the peak MiB of state, input and intermediate results while `network` evaluates `batch`.

    On CUDA the allocator reports the peak; on the CPU it follows from the profiler's record of each allocation. A
    module that holds more than its state, such as weights of an earlier pass, has an attribute `num_extra_bytes`.
    """
    was_training = network.training
    network.eval()
    held = sum(t.numel() * t.element_size() for t in [*network.state_dict().values(), batch])
    held += sum(getattr(module, "num_extra_bytes", 0) for module in network.modules())
    with torch.inference_mode():
        if batch.device.type == "cuda":
            torch.cuda.synchronize(batch.device)
            before = torch.cuda.memory_allocated(batch.device)
            torch.cuda.reset_peak_memory_stats(batch.device)
            network(batch)
            peak = torch.cuda.max_memory_allocated(batch.device) - before
        else:
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
                network(batch)
            live = peak = 0
            for event in record.profiler.kineto_results.events():  # type: ignore[union-attr]
                if event.name() == "[memory]":
                    live += event.nbytes()
                    peak = max(peak, live)
    network.train(was_training)
    return (held + peak) / MIB
