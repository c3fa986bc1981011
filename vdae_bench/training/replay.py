"""Replay of a step on a GPU: its kernels are recorded once as a CUDA graph, so that launching them costs nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UP = 3
"""Number of calls before the recording, in which libraries choose their kernels and workspaces."""


class Replay:
    """A piece of work to be done again and again: on a GPU from a recording, after some calls; on a CPU it is called.

    Args:
        work: it must read and write the same tensors in every call, wait for nothing, and depend on no Python value
            that changes: a recording repeats addresses and constants, and would go on with the old ones.
        device: where the work is done.
    """

    def __init__(self, work: Callable[[], None], device: torch.device) -> None:
        self.work, self.device = work, device
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do the work once, from the recording where there is one."""
        if self.device.type != "cuda":
            self.work()
        elif self._graph:
            self._graph.replay()
        elif self._calls < WARM_UP:
            self._call_aside()
        else:
            self._graph = self._recorded()
            self._graph.replay()
        self._calls += 1

    def _call_aside(self) -> None:
        """Do the work on another stream, as a recording demands of the calls before it."""
        current, aside = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            self.work()
        current.wait_stream(aside)

    def _recorded(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.work()
        return graph
