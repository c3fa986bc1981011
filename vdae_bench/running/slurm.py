"""A Slurm job array for a sweep: each task takes a fixed share of the groups, stops in time, and is requeued."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from vdae_bench.system.words import duration

MINUTES_TO_STOP = 5
"""Between the time limit of the command and that of the job: a step, a chunk of the evaluation, a checkpoint."""
TEMPLATE = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{shards}
#SBATCH --time={minutes}
#SBATCH --cpus-per-task={threads}{gpu}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={name}-%a.log
# {about}
# Submit it from the folder that holds results/, on a file system that all nodes share, with vdae-bench on the PATH.
# Each task goes on from its checkpoints; what has a record is not run again, and records need no merging.
told=
trap 'told=yes' TERM  # scancel, preemption: else bash ends at once, and Slurm kills the command before its checkpoint
{command}
code=$?
if [ "$code" -eq 143 ] && [ -z "$told" ]; then scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"; fi
exit "$code"
"""


def job_array(
    name: str,
    words: Sequence[str],
    shards: int,
    limit_seconds: float,
    threads: int,
    gpu: bool,
    longest_seconds: float | None = None,
) -> str:
    """The script. `words` are those of the command but for shard and limit; the longest share's seconds where known.

    >>> print(job_array("table1", ["sweep", "table1"], 4, 3290, 2, gpu=False).splitlines()[3])
    #SBATCH --time=60
    """
    minutes = math.ceil(limit_seconds / 60)
    limit = f"{minutes}m" if limit_seconds == 60 * minutes else f"{limit_seconds:g}s"
    command = ["vdae-bench", *words, "--shard", "auto", "--time-limit", limit, "--threads", str(threads), "--quiet"]
    about = f"{shards} shares of about the same cost"
    if longest_seconds is not None:
        about += f", the longest about {duration(longest_seconds)}"
    return TEMPLATE.format(
        name=name,
        shards=shards,
        minutes=minutes + MINUTES_TO_STOP,
        threads=threads,
        gpu="\n#SBATCH --gres=gpu:1" if gpu else "",
        about=about + ".",
        command=shlex.join(command),
    )
