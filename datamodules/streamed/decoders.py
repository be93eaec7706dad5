"""Read, decode and cut images into batches of bytes, in worker processes that stay from one epoch to the next.

A request holds all that its batch depends on: the part, the images, and the seed and epoch of their random windows. So
a batch is the same for any number of workers, and one set of workers serves all parts and epochs.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from datamodules.image_file import UNREADABLE
from datamodules.listing.image_index import ImageIndex
from datamodules.streamed.crops import Crops
from runtime.messages import one_line


@dataclass(frozen=True)
class Request:
    """Ask for the images at `indices` of part number `part`: random windows for `(seed, epoch)`, or centres if None."""

    part: int
    indices: Int64[np.ndarray, " batch"]
    seed_and_epoch: tuple[int, int] | None = None


class Decoder(Dataset[tuple[Tensor, str]]):
    """Answer a request with its batch and "", or with an empty batch and what is wrong with an image.

    It returns words because an exception from a worker would print a page.
    """

    def __init__(self, parts: Sequence[ImageIndex], crops: Crops) -> None:
        self.parts = tuple(parts)
        self.crops = crops

    def __getitem__(self, request: Request) -> tuple[UInt8[Tensor, "batch size size 3"], str]:
        images = np.empty((len(request.indices), self.crops.size, self.crops.size, 3), np.uint8)
        part = self.parts[request.part]
        for place, index in enumerate(request.indices.tolist()):
            try:
                images[place] = self._cut(part.read(index), index, request.seed_and_epoch)
            except UNREADABLE as error:
                problem = f"not a readable image ({one_line(error)}); fetch it again, or mend or delete it"
                empty = torch.empty(0, self.crops.size, self.crops.size, 3, dtype=torch.uint8)
                return empty, f"{part.place(index)}: {problem}"
        return torch.from_numpy(images), ""

    def _cut(self, content: bytes, index: int, seed_and_epoch: tuple[int, int] | None) -> np.ndarray:
        if seed_and_epoch is None:
            return self.crops.centre(content)
        return self.crops.random(content, np.random.default_rng((*seed_and_epoch, index)))


class Decoders:
    """`num_workers` processes that answer requests in order; with 0 this process answers them."""

    def __init__(self, decoder: Decoder, num_workers: int) -> None:
        self.decoder = decoder
        self.num_workers = num_workers
        self._idle: dict[bool, list[DataLoader]] = {False: [], True: []}
        # Keep every loader alive until this object goes. A loader that is collected in a reference cycle, as exceptions
        # and Trainers make them, has lost its queues by then and waits five seconds for each worker to end.
        self._loaders: list[DataLoader] = []
        weakref.finalize(self, self._loaders.clear)

    def __call__(self, requests: Sequence[Request], pin: bool) -> Iterator[UInt8[Tensor, "batch size size 3"]]:
        """Yield the batches, in pinned memory if `pin`; raise `ValueError` in one line for an unreadable image."""
        answers = self._in_workers(requests, pin) if self.num_workers else map(self.decoder.__getitem__, requests)
        for images, problem in answers:
            if problem:
                raise ValueError(problem)
            yield images

    def _in_workers(self, requests: Sequence[Request], pin: bool) -> Iterator[tuple[Tensor, str]]:
        # An iteration has its workers to itself; a second one that runs beside it gets others.
        idle = self._idle[pin]
        loader = idle.pop() if idle else self._loader(pin)
        assert isinstance(loader.sampler, _Requests)
        loader.sampler.requests = requests
        left = len(requests)
        try:
            batches = iter(loader)  # the workers drop what an abandoned iteration requested
            while left:
                answer = next(batches)
                left -= 1
                if not left:  # release now: the consumer may never resume this generator
                    idle.append(loader)
                yield answer
        except GeneratorExit:
            if left:
                idle.append(loader)
            raise
        except (RuntimeError, ConnectionError, EOFError) as error:
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            self._loaders.remove(loader)
            raise ValueError(
                f"a process that decodes images died ({one_line(error)}); memory or shared memory (/dev/shm) may be "
                "full: lower dataset.num_workers or schedule.batch_size"
            ) from None

    def _loader(self, pin: bool) -> DataLoader:
        loader = DataLoader(
            self.decoder,
            batch_size=None,  # a request is a batch
            sampler=_Requests(),
            num_workers=self.num_workers,
            collate_fn=_unchanged,  # type: ignore[arg-type]
            pin_memory=pin,
            persistent_workers=True,
            worker_init_fn=quiet,
            generator=torch.Generator(),  # the global one is left alone
        )
        self._loaders.append(loader)
        return loader


class _Requests(Sampler[Request]):
    """The requests that the workers answer next."""

    requests: Sequence[Request] = ()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)


def _unchanged(answer: tuple[Tensor, str]) -> tuple[Tensor, str]:
    return answer


def quiet(worker: int) -> None:
    """Silence Pillow's warnings of odd metadata, which change no pixel."""
    warnings.filterwarnings("ignore", module="PIL")
