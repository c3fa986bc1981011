"""`--budget`: one number of epochs and seeds for all cells of a sweep, so that the whole fits a time on this device.

Chosen once from a short calibration, then kept in `results/<sweep>/budgets/`, so that the next call goes on with the
same protocol.
"""

from __future__ import annotations

import json

from vdae_bench.errors import UserError
from vdae_bench.models.registry import get_method
from vdae_bench.running.context import RunContext
from vdae_bench.running.cost import Calibration, calibrate
from vdae_bench.running.job import Job, RunGroup
from vdae_bench.running.workbench import Workbench
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.system import atomic, strict_json
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import duration

CHOSEN = ("epochs", "seeds", "seconds_an_epoch", "seconds_beside")
MARGIN = 0.9
"""Share of the budget that the estimate may fill."""


def fit_budget(spec: SweepSpec, seconds: float, context: RunContext, *, may_calibrate: bool = True) -> tuple[int, int]:
    """(epochs, seeds): the protocol's seeds with as many epochs as fit; fewer seeds only if not one epoch fits.

    Raises:
        UserError: when not even one epoch of one seed fits, or there is no choice yet and `may_calibrate` is False.
    """
    asked = {
        "protocol": spec.protocol.content(),
        "runs": digest([Job.of(spec, cell).run_digest(0) for cell in spec.cells]),
        "most_seeds": spec.seeds,
        "seconds": seconds,
        "device": context.device.type,
        "threads": context.threads,
    }
    path = context.store.budget(spec.name, f"{spec.protocol.name}-{digest(asked)[:8]}")
    if atomic.is_there(path):
        try:
            content = atomic.read(path) or b""
            kept = strict_json.unsealed(content)
            if {name: kept[name] for name in asked} != asked:
                raise ValueError
            return int(kept["epochs"]), int(kept["seeds"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path} is damaged; delete it, and the budget is chosen again") from None
    if not may_calibrate:
        raise UserError(
            "this budget has not been calibrated yet; run the command once without --dry-run, or give plan --calibrate"
        )
    for seeds in range(spec.seeds, 0, -1):
        per_epoch, fixed = _totals(spec, seeds, context)
        epochs = int((MARGIN * seconds - fixed) / per_epoch) if per_epoch else 1
        if epochs >= 1:
            break
    else:
        raise UserError(
            f"one epoch of one seed of every cell takes about {duration((per_epoch + fixed) / MARGIN)}; "
            f"give a larger --budget, or a protocol with smaller networks"
        )
    chosen = dict(zip(CHOSEN, (epochs, seeds, per_epoch, fixed), strict=True))
    atomic.write(path, json.dumps(strict_json.sealed({**asked, **chosen}), indent=1).encode())
    return epochs, seeds


def _totals(spec: SweepSpec, seeds: int, context: RunContext) -> tuple[float, float]:
    """Seconds an epoch of all cells takes, and seconds that do not depend on the epochs."""
    timings: list[Calibration] = []
    for cell in spec.cells:
        job = Job.of(spec, cell)
        runs = seeds if get_method(cell.method).trains else 1
        group = RunGroup(tuple((job, seed) for seed in range(min(runs, context.limit.fitting(job)))))
        timings += [calibrate(group, lambda group: Workbench(group, context)).per_seed(group)] * runs
    fixed = sum(each.evaluation_seconds + each.samples_seconds for each in timings)
    return sum(each.epoch_seconds for each in timings), fixed
