"""Unfused recurrent layers: the same computation, with every weight in an `nn.Linear` of its own.

Formats replace linear and convolution layers, but `nn.LSTM` and `nn.GRU` hold their weights as plain parameters for one
fused kernel. Unfused, a layer has the children `ih_l0` (input to hidden), `hh_l0` (hidden to hidden), with a projection
`hr_l0`, and the same for the other layers and directions (`ih_l1`, `ih_l0_reverse`, …). The gates lie one after another
in the rows of `ih` and `hh`. While all children are plain linear layers, torch's fused kernel still computes them.

LSTM (Hochreiter & Schmidhuber 1997; the forget gate is by Gers et al. 2000, the projection by Sak et al. 2014):

    i, f, o = σ(ih(x) + hh(h))      g = tanh(ih(x) + hh(h))      rows in the order i, f, g, o
    c' = f c + i g                  h' = hr(o tanh(c')), without a projection o tanh(c')

GRU (Cho et al. 2014):

    r, z = σ(ih(x) + hh(h))         n = tanh(ih(x) + r hh(h))    rows in the order r, z, n
    h' = (1 - z) n + z h

Torch differs from the paper in `n`, where the paper has U(r h): the reset gate multiplies the product with the hidden
weight, and the hidden bias with it, so the two biases of `n` cannot be added up. As in torch, z keeps the old state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from decompositions.layers.hooks import has_hooks
from decompositions.layers.parts import linear_with

State = tuple[Tensor, ...]  # (h, c) of an LSTM, (h,) of a GRU


class _Unfused(nn.Module):
    """Base of both kinds: the children, the order of layers and directions, the shapes of input and output."""

    mode: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int

    def __init__(self, layer: nn.RNNBase) -> None:
        """Take over the parameters of `layer`, the same objects, and its options under their names."""
        super().__init__()
        for option in _Unfused.__annotations__:
            setattr(self, option, getattr(layer, option))
        for key in self._keys():
            for part in self._parts():
                weight = layer.get_parameter(f"weight_{part}_{key}")
                bias = layer.get_parameter(f"bias_{part}_{key}") if self._has_bias(part) else None
                self.add_module(f"{part}_{key}", linear_with(weight, bias))
        self.train(layer.training)

    def extra_repr(self) -> str:
        """Show the options that differ from torch's defaults, as the dense layer does."""
        defaults: dict[str, Any] = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        defaults |= {"bidirectional": False, "proj_size": 0}
        shown = [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])

    def __getattr__(self, name: str) -> Any:
        """Serve the fused layer's names, `weight_hh_l0`, for code that looks at them: the dense weight or bias."""
        kind, _, child = name.partition("_")
        if kind in ("weight", "bias") and child in self._modules:
            return getattr(self._modules[child], kind)
        return super().__getattr__(name)

    def _keys(self) -> list[str]:
        """Name the layers and directions in the order of the states."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        return [f"l{layer}{direction}" for layer in range(self.num_layers) for direction in directions]

    def _parts(self) -> tuple[str, ...]:
        return ("ih", "hh", "hr") if self.proj_size else ("ih", "hh")

    def _has_bias(self, part: str) -> bool:
        return self.bias and part != "hr"

    # The three that a kind of layer defines (a module has no abstract methods).

    def _state_sizes(self) -> tuple[int, ...]:
        """Return the features of each tensor of the state."""
        raise NotImplementedError

    def _fused(self, sequence: tuple[Tensor, ...], state: State, options: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Call torch's kernel: the output, then the state."""
        raise NotImplementedError

    def _cell(self, from_input: Tensor, state: State, key: str) -> State:
        """Advance the state by one time step; `from_input` is what `ih` made of the input."""
        raise NotImplementedError

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Take and return what `nn.LSTM` or `nn.GRU` does."""
        if isinstance(input, PackedSequence):
            state = self._initial(input.data, hx, int(input.batch_sizes[0]), input.sorted_indices)
            data, state = self._run(input.data, input.batch_sizes, state)
            output: Any = PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
            state = _permuted(state, input.unsorted_indices)
        elif input.dim() == 2:
            if hx is not None:
                hx = tuple(h.unsqueeze(1) for h in hx) if self.mode == "LSTM" else hx.unsqueeze(1)
            output, state = self._run(input.unsqueeze(1), None, self._initial(input, hx, 1))
            output, state = output.squeeze(1), tuple(h.squeeze(1) for h in state)
        elif input.dim() == 3:
            # Torch's kernels work time first as well, so that this costs them nothing.
            data = input.transpose(0, 1) if self.batch_first else input
            output, state = self._run(data, None, self._initial(data, hx, data.shape[1]))
            output = output.transpose(0, 1) if self.batch_first else output
        else:
            raise ValueError(f"expected an input with 2 or 3 axes, got {input.dim()}")
        return output, state if self.mode == "LSTM" else state[0]

    def _initial(self, data: Tensor, hx: Any, batch: int | torch.SymInt, order: Tensor | None = None) -> State:
        """Check the sizes of input and state, and return the state, `(layers and directions, batch, size)` each."""
        if data.shape[-1] != self.input_size:
            raise RuntimeError(f"expected an input of {self.input_size} features, got {data.shape[-1]}")
        shapes = [(len(self._keys()), batch, size) for size in self._state_sizes()]
        if hx is None:
            return tuple(data.new_zeros(shape) for shape in shapes)
        state = tuple(hx) if self.mode == "LSTM" else (hx,)
        # Or a state of one sample would be broadcast over the batch.
        if [tuple(h.shape) for h in state] != shapes:
            raise RuntimeError(f"expected a state of {shapes}, got {[tuple(h.shape) for h in state]}")
        return _permuted(state, order)

    def _run(self, data: Tensor, batch_sizes: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Take `data`, `(time, batch, features)` or packed, through all layers, fused or step by step."""
        weights = self._flat_weights
        hooked = any(has_hooks(child) for child in self.children())
        # torch.compile fails at the gradient of oneDNN's kernel, and cuts most others into steps itself.
        if weights and not hooked and not torch.compiler.is_dynamo_compiling():
            sequence = (data,) if batch_sizes is None else (data, batch_sizes)
            options = (weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
            # Only the kernels of dense sequences take `batch_first`.
            output, *new = self._fused(sequence, state, options if batch_sizes is not None else (*options, False))
            return output, tuple(new)
        if batch_sizes is None:
            return self._steps(data, state, None)
        padded, lengths = pad_packed_sequence(PackedSequence(data, batch_sizes))
        mask = torch.arange(len(padded)).unsqueeze(1) < lengths
        output, state = self._steps(padded, state, mask.unsqueeze(2).to(data.device))
        return pack_padded_sequence(output, lengths).data, state

    def _steps(self, data: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        """Compute the output and the last state step by step; where `mask` is false, a state stays as it is."""
        keys = self._keys()
        num_directions = 2 if self.bidirectional else 1
        last: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                data = functional.dropout(data, self.dropout, self.training)
            outputs = []
            for key in keys[layer * num_directions : (layer + 1) * num_directions]:
                # Unbound at once: the gradient of an index would be as large as the sequence at every step.
                from_input = getattr(self, f"ih_{key}")(data).unbind(0)
                hidden: list[Tensor] = []
                cell = tuple(h[len(last)] for h in state)
                times = range(len(from_input))
                for time in reversed(times) if key.endswith("_reverse") else times:
                    new = self._cell(from_input[time], cell, key)
                    cell = new if mask is None else tuple(map(torch.where, [mask[time]] * len(new), new, cell))
                    hidden.append(cell[0])
                last.append(cell)
                outputs.append(torch.stack(hidden[::-1] if key.endswith("_reverse") else hidden))
            data = torch.cat(outputs, -1)
        return data, tuple(torch.stack(h) for h in zip(*last, strict=True))

    @property
    def _flat_weights(self) -> list[Tensor]:
        """The weights in the order of torch's kernels, or none if these cannot compute what the children do."""
        weights = []
        for key in self._keys():
            parts = {part: getattr(self, f"{part}_{key}") for part in self._parts()}
            for part, child in parts.items():
                # Subclasses, parametrizations among them, may compute something else.
                if type(child) is not nn.Linear or (child.bias is not None) != self._has_bias(part):
                    return []
            biases = [parts["ih"].bias, parts["hh"].bias] if self.bias else []
            projection = [parts["hr"].weight] if self.proj_size else []
            weights += [parts["ih"].weight, parts["hh"].weight, *biases, *projection]
        return weights

    # The rest serves CUDA, whose kernels want all weights in one piece of memory: torch's own function lays them there,
    # and reads these names. Networks call it in their forward passes, too.

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for name, _ in self.named_parameters()]

    def flatten_parameters(self) -> None:
        """Lay the weights together in memory if they are dense and on a GPU, as `nn.LSTM` and `nn.GRU` do."""
        if self._flat_weights:
            nn.RNNBase.flatten_parameters(self)  # type: ignore[arg-type]

    def _apply(self, fn: Any, recurse: bool = True) -> _Unfused:
        super()._apply(fn, recurse)
        self.flatten_parameters()
        return self


class UnfusedLSTM(_Unfused):
    """An `nn.LSTM` whose weights are linear layers."""

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def _fused(self, sequence: tuple[Tensor, ...], state: State, options: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return torch._VF.lstm(*sequence, state, *options)  # type: ignore[call-overload]

    def _cell(self, from_input: Tensor, state: State, key: str) -> State:
        h, c = state
        i, f, g, o = (from_input + getattr(self, f"hh_{key}")(h)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return getattr(self, f"hr_{key}")(h) if self.proj_size else h, c


class UnfusedGRU(_Unfused):
    """An `nn.GRU` whose weights are linear layers."""

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size,)

    def _fused(self, sequence: tuple[Tensor, ...], state: State, options: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return torch._VF.gru(*sequence, *state, *options)  # type: ignore[call-overload]

    def _cell(self, from_input: Tensor, state: State, key: str) -> State:
        (h,) = state
        input_r, input_z, input_n = from_input.chunk(3, -1)
        hidden_r, hidden_z, hidden_n = getattr(self, f"hh_{key}")(h).chunk(3, -1)
        n = (input_n + (input_r + hidden_r).sigmoid() * hidden_n).tanh()
        return (n + (input_z + hidden_z).sigmoid() * (h - n),)


def _permuted(state: State, order: Tensor | None) -> State:
    """Return the state with its samples in this order."""
    return state if order is None else tuple(h.index_select(1, order) for h in state)
