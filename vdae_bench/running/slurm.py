"""A Slurm job array for a sweep: each task takes a fixed share of the groups, stops in time, and is requeued."""

from __future__ import annotations

import math
from dataclasses import replace

from vdae_bench.running.options import Command
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
# Some tasks alone: sbatch --array=2,5 THIS_FILE.
told=
trap 'told=yes' TERM  # scancel, preemption: else bash ends at once, and Slurm kills the command before its checkpoint
{command}
code=$?
if [ "$code" -eq 143 ] && [ -z "$told" ]; then scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"; fi
exit "$code"
"""


def job_array(
    name: str,
    command: Command,
    shards: int,
    limit_seconds: float,
    threads: int,
    gpu: bool,
    longest_seconds: float | None = None,
) -> str:
    r"""The script that runs a command in shares with a time limit each; the longest share's seconds where known.

    >>> script = job_array("table1", Command("sweep", ("table1",)), 4, 3290, 2, gpu=False)
    >>> print(*(line for line in script.splitlines() if "--time" in line), sep="\n")
    #SBATCH --time=60
    vdae-bench sweep table1 --threads 2 --shard "$SLURM_ARRAY_TASK_ID/4" --time-limit 3290s -q
    """
    minutes = math.ceil(limit_seconds / 60)
    limit = f"{minutes}m" if limit_seconds == 60 * minutes else f"{limit_seconds:.10g}s"
    task = replace(
        command,
        machine=replace(command.machine, threads=threads),
        run=replace(command.run, shard="auto", time_limit=limit, quiet=True),
    )
    about = f"{shards} shares of about the same cost"
    if longest_seconds is not None:
        about += f", the longest about {duration(longest_seconds)}"
    # The count is the script's own: Slurm's is that of the tasks which were submitted, perhaps again and in part.
    before, _, after = task.array_line().rpartition("--shard auto")  # the last: a path may have these words too
    return TEMPLATE.format(
        name=name,
        shards=shards,
        minutes=minutes + MINUTES_TO_STOP,
        threads=threads,
        gpu="\n#SBATCH --gres=gpu:1" if gpu else "",
        about=about + ".",
        command=f'{before}--shard "$SLURM_ARRAY_TASK_ID/{shards}"{after}',
    )
