"""Pass one sample through a network to see what happens inside: without computing anything, where the network allows.

On torch's meta device tensors have shapes and no values. A network that makes tensors on a fixed device, or decides by
values, cannot pass there: it gets a real pass of the sample on its own device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from evaluation.example import Example
from evaluation.modes import device_of, evaluating
from runtime.copies import copy_network
from runtime.messages import first_line

Watch = Callable[[nn.Module], AbstractContextManager[Any]]


def pass_sample(network: nn.Module, example: Example, watch: Watch) -> None:
    """Pass the first sample of `example` through a copy of a network in evaluation mode, inside `watch(copy)`.

    If the pass on the meta device fails, `watch` is entered anew for the real one, and then for the whole example: not
    everything that has as many entries as the batch has samples is one of samples.
    Raises `ValueError` with the name of the module that cannot pass the example.
    """
    sample = example.one_sample()
    try:
        twin = copy_network(network).to("meta")
        with _calling_layers(twin), watch(twin):
            sample.to("meta")(twin)
        return
    except Exception:  # the real pass says what is wrong, if anything is
        pass
    for last, given in ((False, sample), (True, replace(example, batch_axis=None))):
        twin = copy_network(network)  # a pass may change buffers
        try:
            with _calling_layers(twin), watch(twin):
                given.to(device_of(network))(twin)
            return
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if last:
                said = blame(twin, error)
                raise ValueError(f"the network cannot pass an example of shape {given}: {said}") from error


def give_shapes(network: nn.Module, example: Example) -> None:
    """Give lazy layers their shapes, in place: they learn them in their first pass."""
    if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
        with _calling_layers(network):
            example.one_sample().to(device_of(network))(network)


def blame(network: nn.Module, error: BaseException) -> str:
    """Return the innermost module in whose pass an error was raised, with the first line of the error."""
    names = {module: name for name, module in network.named_modules() if name}
    found, trace = None, error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_locals.get("self")
        if isinstance(module, nn.Module) and module in names:
            found = module
        trace = trace.tb_next
    where = "" if found is None else f"module {names[found]} ({type(found).__name__}): "
    return f"{where}{type(error).__name__}: {first_line(error)}"


def require_called(network: nn.Module, names: Iterable[str], example: Example) -> None:
    """Raise `ValueError` for a module that a pass of the example does not call, though it stands for one that is."""
    called: set[str] = set()

    @contextmanager
    def watch(twin: nn.Module) -> Iterator[None]:
        for name in names:
            twin.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: called.add(name))
        yield

    names = list(names)
    pass_sample(network, example, watch)
    if idle := [name for name in names if name not in called]:
        raise ValueError(
            f"layer {idle[0]}: the network goes on calling the dense layer, which it keeps in another place too (a "
            "plain list, a closure); keep it in an nn.ModuleList, or leave it out by layers="
        )


@contextmanager
def _calling_layers(network: nn.Module) -> Iterator[None]:
    """Keep evaluation mode, no gradients, and the path of attention that calls its layers."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with evaluating(network), torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
