"""Decode images in processes of their own, a few batches ahead of whoever takes them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Self

import numpy as np

from convnext.classification.journal import Listed
from convnext.errors import ImageError
from convnext.images.extractor import ConvNextFeatureExtractor

Decoded = np.ndarray | str  # pixel_values (1, C, H, W) float32, or why there are none
Batch = Sequence[Listed]

DIED = "decoding it ended the process"  # out of memory, or a crash inside a decoder


class DecodingPool:
    """Worker processes that turn paths into `pixel_values`.

    Memory stays bounded: at most `workers` + 1 batches are on their way or waiting. An image that
    takes a worker down with it costs only itself.

    Args:
        extract: the preprocessing.
        workers: how many processes; with 0 this process decodes, each batch in its turn.
    """

    def __init__(self, extract: ConvNextFeatureExtractor, workers: int) -> None:
        self._extract, self._workers = extract, workers
        if workers:
            self._executor = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._workers:
            self._executor.shutdown(cancel_futures=True)

    def decode(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, list[Decoded]]]:
        """Every batch with what became of each image, in the order of the batches."""
        if not self._workers:
            for batch in batches:
                yield batch, _decode(self._extract, [each.path for each in batch])
            return
        waiting: deque[tuple[Batch, Future[list[Decoded]]]] = deque()
        for batch in batches:
            waiting.append((batch, self._submit(batch)))
            if len(waiting) > self._workers:
                yield from self._next(waiting)
        while waiting:
            yield from self._next(waiting)

    def _next(
        self, waiting: deque[tuple[Batch, Future[list[Decoded]]]]
    ) -> Iterator[tuple[Batch, list[Decoded]]]:
        """The oldest batch; where a process died, all that wait, for all of them are lost."""
        batch, future = waiting.popleft()
        try:
            yield batch, future.result()
        except BrokenProcessPool:
            lost = [batch, *(later for later, _ in waiting)]
            waiting.clear()
            self._executor = self._started()
            for each in lost:
                yield each, [self._alone(listed) for listed in each]

    def _alone(self, listed: Listed) -> Decoded:
        try:
            return self._submit([listed]).result()[0]
        except BrokenProcessPool:
            self._executor = self._started()
            return DIED

    def _submit(self, batch: Batch) -> Future[list[Decoded]]:
        try:
            return self._executor.submit(_decode, self._extract, [each.path for each in batch])
        except BrokenProcessPool as error:
            failed: Future[list[Decoded]] = Future()
            failed.set_exception(error)
            return failed

    def _started(self) -> ProcessPoolExecutor:
        """New processes, of which one has shown that it can run."""
        # Not forked: a fork of a process whose framework has threads may stop dead.
        executor = ProcessPoolExecutor(
            self._workers, multiprocessing.get_context("spawn"), initializer=_prepare
        )
        try:
            executor.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise OSError(
                "the processes that decode images do not start; a script must call this under "
                "if __name__ == '__main__'"
            ) from error
        return executor


def _prepare() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when the parent is gone, even if killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _decode(extract: ConvNextFeatureExtractor, paths: Sequence[str]) -> list[Decoded]:
    return [_decode_one(extract, path) for path in paths]


def _decode_one(extract: ConvNextFeatureExtractor, path: str) -> Decoded:
    try:
        return extract(path).pixel_values
    except ImageError as error:
        return error.reason
