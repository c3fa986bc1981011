"""Where and on what runs happen: results folder, device, threads, data, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from vdae_bench.running.cost import GroupLimit
from vdae_bench.running.job import GROUP_BYTES, MAX_REPLICAS
from vdae_bench.running.options import MachineOptions
from vdae_bench.store.provenance import code_state
from vdae_bench.store.records import Store
from vdae_bench.system import devices
from vdae_bench.system.words import parse_duration


@dataclass(frozen=True)
class RunContext:
    """Where and on what a sweep runs; changes no number beyond float rounding."""

    store: Store
    device: torch.device
    threads: int
    data_folder: Path | None = None
    seconds_between_checkpoints: float = 60.0
    keep_models: bool = False
    """Keep the weights of each run beside its record, for `api.load`."""
    limit: GroupLimit = field(default_factory=GroupLimit)
    command: str = ""
    """The command line, for records and for the line that goes on after a stop."""

    def absolute(self) -> RunContext:
        """The same for a process that stands in another folder: every path is absolute."""
        paths: dict[str, Any] = {
            each.name: value.resolve() for each in fields(self) if isinstance(value := getattr(self, each.name), Path)
        }
        return replace(self, store=Store(self.store.root.resolve()), **paths)


def create_context(machine: MachineOptions, command: str = "", *, computes: bool = True) -> RunContext:
    """Set this process up as the command line says.

    One that computes nothing itself needs no GPU to speak of one, as on the login node of a cluster.
    """
    code_state()  # now, before the tree can change under a long run
    absent = machine.device == "cuda" and not computes and not torch.cuda.is_available()
    device = torch.device("cuda") if absent else devices.choose(machine.device)
    threads = machine.threads or devices.default_threads()
    devices.prepare(threads)
    return RunContext(
        store=Store(machine.results),
        device=device,
        threads=threads,
        data_folder=machine.data,
        seconds_between_checkpoints=parse_duration(machine.checkpoint_every),
        keep_models=machine.keep_checkpoints,
        limit=GroupLimit(GROUP_BYTES if absent else devices.group_bytes(device), machine.replicas or MAX_REPLICAS),
        command=command,
    )
