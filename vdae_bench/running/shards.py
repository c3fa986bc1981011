"""Shares of a sweep, for job arrays: each job takes a fixed part of the groups, whatever the others have done.

Records are files, so that there is nothing to merge.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vdae_bench.errors import UserError
from vdae_bench.running.cost import group_work
from vdae_bench.running.plan import Plan, plan_part
from vdae_bench.store.records import Store
from vdae_bench.system.words import counted


@dataclass(frozen=True)
class Shard:
    """One part of a sweep's runs: part `number` (from 1) of `count`."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def part_of(self, planned: Plan, store: Store) -> Plan:
        """The plan with this part of its groups; the same part whichever runs have a record already."""
        # Cut from all groups, not from what is missing: that shrinks as records arrive, so that jobs of an array which
        # start at different times would cut other shares, and some runs would be in two of them and some in none. Nor
        # do shares depend on a machine's memory, as an array may run on unequal ones.
        groups = planned.all_groups
        own = shares([group_work(group) for group in groups], self.count)[self.number - 1]
        return plan_part(planned, {(job.cell, seed) for index in own for job, seed in groups[index].runs}, store)


def shares(works: Sequence[float], count: int) -> list[list[int]]:
    """Indices of the works in `count` parts of about the same sum: the longest first, each to the part with the least.

    >>> shares([1, 5, 3, 3], 2)
    [[1, 0], [2, 3]]
    """
    parts: list[list[int]] = [[] for _ in range(count)]
    loads = [(0.0, part) for part in range(count)]
    for index in sorted(range(len(works)), key=lambda each: (-works[each], each)):
        load, part = heapq.heappop(loads)
        parts[part].append(index)
        heapq.heappush(loads, (load + works[index], part))
    return parts


def parse_shard(word: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """Parse `I/N`, or `auto`: the place of this job in a Slurm array.

    >>> parse_shard("2/8"), parse_shard("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4"})
    (Shard(number=2, count=8), Shard(number=1, count=4))

    Raises:
        UserError: it is neither, or there is no array.
    """
    if word == "auto":
        names = ("ID", "MIN", "MAX", "STEP", "COUNT")
        told = {name: environment.get(f"SLURM_ARRAY_TASK_{name}", "") for name in names}
        if not told["ID"].isdecimal() or not told["COUNT"].isdecimal():
            raise UserError(
                "--shard auto reads SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, which are not set; "
                "submit an array (vdae-bench plan SPEC --format slurm prints one), or give --shard I/N"
            )
        first, step = int(told["MIN"] or 0), int(told["STEP"] or 1) or 1
        last = int(told["MAX"] or first + step * (int(told["COUNT"]) - 1))
        if first not in (0, 1) or last != first + step * (int(told["COUNT"]) - 1):
            raise UserError(
                f"--shard auto does not know how many shares there are where an array is submitted in part (here "
                f"{counted(int(told['COUNT']), 'task')} from {first} to {last}); give --shard $SLURM_ARRAY_TASK_ID/N"
            )
        word = f"{(int(told['ID']) - first) // step + 1}/{told['COUNT']}"
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", word)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard takes I/N with I from 1 to N, such as --shard 3/8, or auto, not {word!r}")
    return Shard(int(match[1]), int(match[2]))
