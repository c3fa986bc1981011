"""What the paper's protocol costs, cell by cell and study by study: a slice of each timed here, the rest reckoned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vdae_bench.bench.entries import Entry, Surrounding, Workload
from vdae_bench.bench.ours import Setting
from vdae_bench.bench.timing import interleave, peak
from vdae_bench.errors import VdaeBenchError
from vdae_bench.running.cost import calibrate, price
from vdae_bench.running.job import RunGroup
from vdae_bench.running.plan import cell_plans
from vdae_bench.running.workbench import Workbench
from vdae_bench.search.studies import studies_of
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.sweep import SweepSpec


@dataclass(frozen=True)
class PaperCost:
    """The seconds of one seed of each cell, and of one trial of each study, of some sweeps."""

    name: str
    sweeps: tuple[str, ...] = ("table1", "table2")
    protocol: str | None = "paper"

    def run(self, setting: Setting, rounds: int | None, run: Surrounding) -> list[Entry]:
        """Time a slice of each cell, beside the peak of matrix products."""
        best = interleave({"peak": peak("float32")}, rounds, setting.least_seconds)["peak"]
        assert best.flops
        found = []
        for word in self.sweeps:
            spec = load_spec(find_spec(word), self.protocol)
            try:
                found += list(self._entries(spec, setting, best.flops / best.seconds, run))
            except VdaeBenchError as error:
                found.append(self._entry(spec, spec.name, "run", run, skipped=str(error)))
        return found

    def _entries(self, spec: SweepSpec, setting: Setting, rate: float, run: Surrounding) -> Iterator[Entry]:
        """Of its cells, then of its studies, whose trials train as fast as the cell that they search on."""
        speeds = {}
        for each in cell_plans(spec, setting.context.store):
            job = each.job
            timing = calibrate(RunGroup(((job, 0),)), lambda group: Workbench(group, setting.context))
            train = timing.epoch_seconds * job.training_settings().epochs
            seconds = train + timing.evaluation_seconds + timing.samples_seconds
            speeds[job.cell] = price(job).train_flops / train if train else 0.0
            work = Workload(sweep=spec.name, runs=len(each.done) + len(each.missing), seconds=(seconds,))
            name = f"{spec.name}: {job.cell.slug}"
            yield self._entry(spec, name, "seed", run, work, flops=price(job).flops, peak_flops_per_second=rate)
        for study in studies_of(spec) if spec.search else ():
            seconds_each = tuple(flops / speeds[study.cell] for flops in study.architecture_flops)
            work = Workload(sweep=spec.name, runs=study.trials, batch=study.batch, seconds=seconds_each)
            name = f"{spec.name}: search on {study.cell.slug}"
            yield self._entry(spec, name, "trial", run, work, flops=study.train_flops, peak_flops_per_second=rate)

    def _entry(
        self, spec: SweepSpec, name: str, per: str, run: Surrounding, work: Workload | None = None, **found: object
    ) -> Entry:
        seconds = sum(work.seconds) / len(work.seconds) if work else None
        return Entry.model_validate(
            {
                "name": f"{name} at {spec.protocol.name}",
                "case": self.name,
                "subject": "cost",
                "per": per,
                "ours_seconds": seconds,
                "workload": work,
                "run": run,
                **found,
            }
        )
