"""Searches as reports read them: frozen winners, their trials, and how samplers compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vdae_bench.report.numbers.units import Unit, curve_unit, in_curve_unit
from vdae_bench.search.space import distributions, quiet_optuna
from vdae_bench.search.winner import Trial, Winner, all_winners
from vdae_bench.store.records import Store

SUPERSEDED = ".superseded-"

MANY = 8
"""Complete trials from which the importance of hyper-parameters is estimated."""


@dataclass(frozen=True)
class Frozen:
    """A winner and its file."""

    path: Path
    winner: Winner

    @property
    def dataset(self) -> str:
        """The data set that was searched on."""
        return self.winner.cell.partition("_")[0]

    @property
    def name(self) -> str:
        """For people: the cell, and what tells the study from the spec's own."""
        return f"{self.winner.cell} ({self.winner.label.replace('.', ', ')})" if self.winner.label else self.winner.cell

    @property
    def unit(self) -> Unit:
        """The unit of its values in a report."""
        return curve_unit(self.dataset)

    def shown(self, nats: float) -> float:
        """A value in that unit."""
        return in_curve_unit(nats, self.dataset)

    def text(self, nats: float) -> str:
        """A value in that unit, as text."""
        return self.unit.show(self.shown(nats))

    @property
    def spread(self) -> float:
        """How far the worst of the best tenth is above the best, in that unit."""
        return self.shown(self.best_tenth[-1].score) - self.shown(self.winner.value)

    @property
    def best_tenth(self) -> list[Trial]:
        """The best tenth of the complete trials, at least two: how flat the optimum is."""
        complete = self.winner.complete
        return complete[: max(2, -(-len(complete) // 10))]


def load_searches(store: Store, sweep: str, protocol: str) -> list[Frozen]:
    """The winners of a sweep under a protocol, those set aside too: records may name them."""
    return [Frozen(path, winner) for path, winner in all_winners(store, sweep, protocol)]


def current(searches: Sequence[Frozen]) -> list[Frozen]:
    """Those that are not set aside: the spec's own studies first, then those compared with them."""
    kept = [each for each in searches if SUPERSEDED not in each.path.name]
    return sorted(kept, key=lambda each: (each.winner.label != "", each.path.name))


def importances(frozen: Frozen) -> dict[str, float]:
    """Share of each hyper-parameter in reaching the best tenth (PED-ANOVA, as in Optuna); empty of too few trials."""
    import optuna

    complete = sorted(frozen.winner.complete, key=lambda trial: trial.number)
    space = frozen.winner.searched
    varied = {name for name in space if len({str(trial.parameters[name]) for trial in complete}) > 1}
    if len(complete) < MANY or not varied:
        return {}
    known = distributions(space)
    with quiet_optuna():
        study = optuna.create_study(direction="minimize")
        study.add_trials(
            [optuna.trial.create_trial(params=t.parameters, distributions=known, value=t.value) for t in complete]
        )
        shares = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), params=sorted(varied)
        )
    return {name: float(share) for name, share in shares.items()}


@dataclass(frozen=True)
class Progression:
    """How good the best of a study was after so much training: a step function of cost, in full trials."""

    costs: tuple[float, ...]
    bests: tuple[float, ...]

    @classmethod
    def of(cls, frozen: Frozen) -> Progression:
        """The progression of a study; trials that stopped early cost the epochs that they had."""
        costs, bests, cost, best = [], [], 0.0, float("inf")
        for trial in frozen.winner.trials:
            cost += trial.epochs / frozen.winner.epochs
            if trial.state == "complete":
                best = min(best, frozen.shown(trial.score))
            costs.append(cost)
            bests.append(best)
        return cls(tuple(costs), tuple(bests))

    def at(self, cost: float) -> float:
        """The best by then; infinite before the first complete trial."""
        return min(
            (best for at, best in zip(self.costs, self.bests, strict=True) if at <= cost + 1e-9), default=float("inf")
        )


def compared(here: Sequence[Frozen]) -> list[list[Frozen]]:
    """Studies alike but for sampler and seed, where there are two samplers."""
    groups: dict[tuple[str, int, int, str], list[Frozen]] = {}
    for each in here:
        winner = each.winner
        groups.setdefault((winner.cell, winner.epochs, winner.batch, str((winner.space, winner.fixed))), []).append(
            each
        )
    return [group for group in groups.values() if len({each.winner.sampler for each in group}) > 1]


def same_points(first: Frozen, second: Frozen) -> list[tuple[float, float]]:
    """Values (nats) of trials with the same parameters in two studies of one cell; empty unless they tried the same."""
    a, b = first.winner, second.winner
    if a.cell != b.cell or a.epochs == b.epochs or a.fixed != b.fixed:
        return []
    pairs = list(zip(a.trials, b.trials, strict=False))
    if not pairs or any(one.parameters != other.parameters for one, other in pairs):
        return []
    both = [(one, other) for one, other in pairs if one.state == other.state == "complete"]
    return [(one.score, other.score) for one, other in both]
