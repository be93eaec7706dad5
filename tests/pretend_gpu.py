"""A pretend GPU: CPU tensors that obey CUDA's rules, so that code for GPUs is tested where there is none.

A tensor is on it if its storage is listed here. An operator on tensors of both devices raises as CUDA's do, the device
has random numbers of its own, and what waits is counted by the line of this project that asked for it: copies from the
host that block (CUDA copies in the background only with `non_blocking=True`, from pinned memory), and reads of the
device by the host.

It has no streams, no memory of its own and no speed, and its kernels are the CPU's.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = str(Path(__file__).parent.parent) + "/"
DEVICE = torch.device("cuda", 0)
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
TAKES_BOTH = ("copy_", "_to_copy", "_pack_padded_sequence", "_pad_packed_sequence", "lstm", "gru")
READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal")
MANY = 20_000


class PretendGpu:
    """Which tensors are on the device, its random numbers, and where the host waited.

    `copies` counts the copies to the device that block, `reads` the reads by the host, by `"file.py:line"`.
    """

    def __init__(self) -> None:
        self.copies: collections.Counter[str] = collections.Counter()
        self.reads: collections.Counter[str] = collections.Counter()
        self.random_state = torch.Generator().get_state()
        self._storages: dict[int, StorageWeakRef] = {}
        self._pinned: dict[int, StorageWeakRef] = {}

    def holds(self, tensor: Any) -> bool:
        """Return True if `tensor` is on the device."""
        return _is_listed(tensor, self._storages)

    def is_pinned(self, tensor: Tensor) -> bool:
        """Return True if `tensor` is in memory of the host that the device can read by itself."""
        return _is_listed(tensor, self._pinned)

    def put(self, tree: Any, is_on: bool = True) -> Any:
        """List the tensors of `tree` as on the device, or no longer; return it."""
        for tensor in tree_leaves(tree):
            _list(tensor, self._storages, is_on)
        return tree

    def pin(self, tensor: Tensor) -> Tensor:
        """Return a pinned copy."""
        copy = tensor.clone()
        _list(copy, self._pinned, True)
        return copy

    def move(self, tensor: Tensor, is_on: bool, non_blocking: bool = False, **options: Any) -> Tensor:
        """Return `tensor` on the device or off it, and count what waits."""
        if self.holds(tensor) == is_on:
            return Tensor.to(tensor, **options)
        if not is_on:
            self.reads[place()] += 1
        elif not (non_blocking and self.is_pinned(tensor)):
            self.copies[place()] += 1
        return self.put(Tensor.to(tensor, **options | {"copy": True}), is_on)

    def draw(self, call: Callable[[], Any]) -> Any:
        """Return what `call` draws from the random numbers of the device."""
        of_host = torch.get_rng_state()
        torch.set_rng_state(self.random_state)
        try:
            return call()
        finally:
            self.random_state = torch.get_rng_state()
            torch.set_rng_state(of_host)

    def seed(self, seed: int) -> None:
        """Seed the random numbers of the device; other ones than the host's of this seed, as CUDA's are."""
        self.random_state = torch.Generator().manual_seed((seed + 1) % 2**63).get_state()


def place() -> str:
    """Return the innermost line of this project that is being run, or else of any other package but torch."""
    frame, other = sys._getframe(1), "?"
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(ROOT) and "site-packages" not in name and name != __file__:
            return f"{name.removeprefix(ROOT)}:{frame.f_lineno}"
        if other == "?" and "/torch/" not in name and name != __file__:
            other = f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return other


@contextmanager
def pretend_gpu() -> Iterator[PretendGpu]:
    """Make torch, and so Lightning, see one GPU, this one, inside the block."""
    gpu = PretendGpu()
    with pytest.MonkeyPatch.context() as patch:
        _patch(patch, gpu)
        with _Operators(gpu), _Functions(gpu):
            yield gpu


class _Operators(TorchDispatchMode):
    """Below autograd: every operator that is really run."""

    def __init__(self, gpu: PretendGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        held = [self.gpu.holds(tensor) for tensor in tensors]
        if not any(held):
            return func(*args, **kwargs)
        name = func._overloadpacket.__name__
        if not all(held):
            self._refuse_both(func, name, args, tensors, held)
        if (generator := kwargs.get("generator")) is not None and generator.device.type == "cpu":
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if name == "copy_" and held[0] != held[1]:
            is_background = (args[2:3] or (kwargs.get("non_blocking"),))[0] and self.gpu.is_pinned(tensors[1])
            self._count(self.gpu.copies if held[0] else self.gpu.reads, not is_background)
        by_mask = name in INDEXING and any(t.dtype in (torch.bool, torch.uint8) for t in tensors[1:])
        self._count(self.gpu.reads, name in READS or by_mask or name.startswith(("linalg_", "_linalg")))
        if torch.Tag.nondeterministic_seeded in func.tags:
            found = self.gpu.draw(lambda: func(*args, **kwargs))
        else:
            found = func(*args, **kwargs)
        to_host = name == "_local_scalar_dense" or (name == "copy_" and not held[0])
        return found if to_host else self.gpu.put(found)

    def _refuse_both(self, func: Any, name: str, args: Any, tensors: list[Tensor], held: list[bool]) -> None:
        """Raise what CUDA raises at tensors of both devices; numbers of the host may take part, unless written to."""
        written: set[int] = set()
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                written |= {id(leaf) for leaf in tree_leaves(value)}
        of_host = [t for t, is_held in zip(tensors, held, strict=True) if not is_held and t.device.type == "cpu"]
        refused = [tensor for tensor in of_host if tensor.dim() > 0 or id(tensor) in written]
        if name in TAKES_BOTH or (name in INDEXING and held[0]):
            self._count(self.gpu.copies, name in INDEXING)  # the index is copied
        elif refused:
            shapes = ", ".join(f"{'cuda' if h else 'cpu'}{tuple(t.shape)}" for t, h in zip(tensors, held, strict=True))
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                f"{func}: {shapes}"
            )

    @staticmethod
    def _count(counter: collections.Counter[str], waits: bool) -> None:
        if waits:
            counter[place()] += 1


class _Functions(TorchFunctionMode):
    """Above autograd: what moves tensors, makes them on a device, or asks where they are."""

    def __init__(self, gpu: PretendGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, gpu = dict(kwargs or {}), self.gpu
        if func == Tensor.device.__get__ and gpu.holds(args[0]):
            return DEVICE
        if func == Tensor.is_cuda.__get__ and gpu.holds(args[0]):
            return True
        if func in (Tensor.cuda, Tensor.cpu):
            return gpu.move(args[0], func is Tensor.cuda)
        if func is Tensor.to:
            return self._to(*args, **kwargs)
        if func is Tensor.pin_memory:
            return gpu.pin(args[0])
        if func is Tensor.is_pinned:
            return gpu.is_pinned(args[0])
        if func is Tensor.numpy and gpu.holds(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if func is Tensor.tolist and gpu.holds(args[0]):
            gpu.reads[place()] += 1
        device = kwargs.get("device")
        if device is None or func == Tensor.device.__get__:
            return func(*args, **kwargs)
        if not is_cuda(device):
            return (
                gpu.put(func(*args, **kwargs), False) if torch.device(device).type == "cpu" else func(*args, **kwargs)
            )
        if kwargs.get("generator") is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if func is torch.tensor:
            gpu.copies[place()] += 1
        return gpu.put(gpu.draw(lambda: func(*args, **kwargs | {"device": "cpu"})))

    def _to(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
        for value in (*args, *([kwargs.pop("other")] if "other" in kwargs else [])):
            if isinstance(value, Tensor):
                device, dtype = DEVICE if self.gpu.holds(value) else value.device, value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, bool):
                kwargs.setdefault("non_blocking" if "non_blocking" not in kwargs else "copy", value)
            elif value is not None:
                device = value
        options = kwargs | ({} if dtype is None else {"dtype": dtype})
        if "meta" in (tensor.device.type, None if device is None else torch.device(device).type):
            return Tensor.to(tensor, device, **options)
        return self.gpu.move(tensor, self.gpu.holds(tensor) if device is None else is_cuda(device), **options)


def is_cuda(device: Any) -> bool:
    """Return True for a device of CUDA, in any of torch's ways to name one."""
    return isinstance(device, int) or torch.device(device).type == "cuda"


def _is_listed(tensor: Any, listed: dict[int, StorageWeakRef]) -> bool:
    with torch._C.DisableTorchFunction():
        if not isinstance(tensor, Tensor) or tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return False
        return StorageWeakRef(tensor.untyped_storage()).cdata in listed


def _list(tensor: Any, listed: dict[int, StorageWeakRef], is_listed: bool) -> None:
    with torch._C.DisableTorchFunction():
        if not isinstance(tensor, Tensor) or tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return
        key = StorageWeakRef(tensor.untyped_storage())  # while it is kept, no other storage has its address
        if is_listed:
            listed[key.cdata] = key
        else:
            listed.pop(key.cdata, None)
        if len(listed) > MANY:
            for address in [address for address, reference in listed.items() if reference.expired()]:
                del listed[address]


def _patch(patch: pytest.MonkeyPatch, gpu: PretendGpu) -> None:
    """Make torch, and so Lightning, see a GPU."""

    class Properties:
        name, major, minor, total_memory, multi_processor_count = "pretended", 9, 0, 10**11, 1

    def set_random_state(state: Tensor, device: Any = None) -> None:
        gpu.random_state = state.clone()

    known: dict[str, Any] = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "set_device": None,
        "synchronize": None,
        "empty_cache": None,
        "reset_peak_memory_stats": None,
        "memory_allocated": 0,
        "max_memory_allocated": 2**20,
        "mem_get_info": (10**11, 10**11),
        "get_device_name": "pretended",
        "get_device_capability": (9, 0),
        "get_device_properties": Properties(),
        "is_current_stream_capturing": False,
        "is_bf16_supported": True,
        "_lazy_init": None,
    }
    for name, value in known.items():
        patch.setattr(torch.cuda, name, lambda *args, value=value, **kwargs: value)
    patch.setattr(torch.cuda, "get_rng_state", lambda device=None: gpu.random_state.clone())
    patch.setattr(torch.cuda, "set_rng_state", set_random_state)
    for name in ("manual_seed", "manual_seed_all"):
        patch.setattr(torch.cuda, name, gpu.seed)
    patch.setattr(torch.backends.cudnn, "is_acceptable", lambda tensor: False)
