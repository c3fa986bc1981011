"""The search in a report: figures and tables drawn from winner files alone."""

from __future__ import annotations

import math
import shutil

import matplotlib
import numpy as np
import pytest

from tests.support.drawn import faults_of
from tests.support.markdown_tables import table_with
from tests.support.searches import made_up_winner
from vdae_bench.errors import UserError
from vdae_bench.report.build import build_reports
from vdae_bench.report.numbers.searches import Frozen, Progression, importances, load_searches
from vdae_bench.report.numbers.units import NATS
from vdae_bench.report.sections.results.searched import fidelity
from vdae_bench.report.sections.search import text
from vdae_bench.report.sections.search.figures import study_figure
from vdae_bench.search.propose import propose
from vdae_bench.search.studies import studies_to_run
from vdae_bench.search.winner import read_winner, winner_json, write_winner
from vdae_bench.store.records import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def parameters(make_study):
    """Twenty points of the tiny space."""
    return propose(make_study(), [], 0, 20)


def by_rate(parameters):
    """-ELBO that depends on the rate alone, lowest at 1e-2; one trial diverged."""
    values = [100.0 + 20 * abs(math.log10(each["learning_rate"] / 1e-2)) for each in parameters]
    return [None, *values[1:]]


@pytest.fixture
def frozen(make_study, parameters, store):
    study = make_study()
    write_winner(study.path(store), made_up_winner(study, parameters, by_rate(parameters)))
    return Frozen(study.path(store), read_winner(study.path(store)))


def test_a_file_gives_back_what_was_written_and_has_a_line_a_trial(frozen):
    text = frozen.path.read_text()
    assert winner_json(frozen.winner) == text
    assert len([line for line in text.splitlines() if line.startswith('  {"number"')]) == 20
    again = made_up_winner_with_other_time(frozen)
    assert again.source != frozen.winner.source and again.chosen == frozen.winner.chosen


def test_short_trials_that_chose_a_schedule_are_said_to_favour_a_constant_rate(frozen):
    def said(epochs, space):
        return fidelity(frozen.winner.model_copy(update={"final_epochs": epochs, "space": space}))

    one, two = ({"schedule": {"values": values}} for values in (["none"], ["linear", "none"]))
    assert said(9, two).endswith("**fewer than the 9 of the final runs**; short trials favour a constant learning rate")
    assert "favour" not in said(9, one) + said(9, {}) + said(3, two) + said(2, two)


def made_up_winner_with_other_time(frozen):
    trials = [trial.model_copy(update={"seconds": 9.0}) for trial in frozen.winner.trials]
    return frozen.winner.model_copy(update={"trials": trials})


def test_a_searched_sweep_without_runs_has_a_page_of_its_own_and_the_same_bytes_twice(frozen, store, tmp_path):
    (written,) = build_reports(store, tmp_path / "reports")
    files = {path.name: path.read_bytes() for path in written.path.parent.iterdir()}
    name = "tiny-search-binary-tiny_vae_3"
    assert sorted(files) == [f"{name}.png", f"{name}.svg", "tiny.md"]
    page = files["tiny.md"].decode()
    (row,) = table_with(page, "best tenth within")
    values = sorted(value for value in by_rate([t.parameters for t in frozen.winner.trials]) if value is not None)
    assert row["best"] == f"{values[0]:.2f} nats" and row["best tenth within"] == f"{values[1] - values[0]:.2f}"
    assert (row["trials"], row["diverged"], row["pruned"], row["epochs"], row["cells"]) == ("20", "1", "0", "3", "2")
    assert f"]({name}.svg)" in page and "[JSON](../../results/tiny/" in page
    rates = {each["hyper-parameter"]: each["importance"] for each in table_with(page, "in the best tenth")}
    assert float(rates["`learning_rate`"]) > 0.5 > float(rates["`hidden_size`"])
    shutil.copytree(store.root, tmp_path / "elsewhere" / "results")
    with matplotlib.rc_context({"font.size": 20, "figure.facecolor": "red"}):
        (again,) = build_reports(Store(tmp_path / "elsewhere" / "results"), tmp_path / "elsewhere" / "reports")
    assert {path.name: path.read_bytes() for path in again.path.parent.iterdir()} == files
    assert b"dc:date" not in files[f"{name}.svg"]
    with pytest.raises(UserError, match="no records"):
        build_reports(store, tmp_path / "reports", formats=("csv",))


def test_the_figure_shows_every_trial_and_the_best_so_far(frozen):
    figure = study_figure(frozen)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == ["history", "learning_rate", "schedule", "hidden_size", "importance (PED-ANOVA)"]
    for axes in figure.axes[:4]:
        marks = [line for line in axes.lines if line.get_linestyle() == "None" and line.get_marker() != "*"]
        assert sum(len(line.get_xdata()) for line in marks) == 20
        low, high = axes.get_ylim()
        assert all(low <= y <= high for line in axes.lines for y in line.get_ydata())
    steps = next(line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post")
    assert (np.diff(steps.get_ydata()) <= 0).all() and steps.get_ydata()[-1] == frozen.winner.value
    (legend,) = figure.legends
    said = {text.get_text() for text in legend.get_texts()}
    assert {"trial", "off the top, or without a value", "chosen", "best so far"} <= said
    assert faults_of(figure) == []
    star = next(line for line in figure.axes[1].lines if line.get_marker() == "*")
    assert star.get_xdata()[0] == frozen.winner.chosen["learning_rate"]


def test_few_trials_have_no_importance(make_study, parameters, store):
    study = make_study()
    assert importances(Frozen(study.path(store), made_up_winner(study, parameters[:7]))) == {}
    assert set(importances(Frozen(study.path(store), made_up_winner(study, parameters[:8])))) == set(study.space)


def test_samplers_are_compared_at_equal_cost_and_with_random_search_of_the_same_seed(make_spec, store, tmp_path):
    spec = make_spec(
        search={"method": "bayes", "sampler": "gp", "compare": {"sampler": ["gp", "random"], "seed": [0, 1]}}
    )
    studies = [study for study in studies_to_run(spec, spec.cells, compare=True) if study.cell.method == "vae"]
    assert [(study.sampler, study.seed, study.label) for study in studies] == [
        ("gp", 0, ""),
        ("gp", 1, "sampler-gp.seed-1"),
        ("random", 0, "sampler-random.seed-0"),
        ("random", 1, "sampler-random.seed-1"),
    ]
    point = {"learning_rate": 1e-2, "schedule": "none", "hidden_size": 4}
    values = {
        ("gp", 0): [105.0, 100.0, 90.0],
        ("gp", 1): [None, 104.0, 101.0],  # a third of a trial, then two: 2 1/3 in all
        ("random", 0): [105.0, 103.0, 80.0],
        ("random", 1): [99.0, 106.0, 80.0],
    }
    for study in studies:
        write_winner(study.path(store), made_up_winner(study, [point] * 3, values[study.sampler, study.seed]))
    (written,) = build_reports(store, tmp_path / "reports")
    page = written.path.read_text()
    assert "training worth 2.33 full trials" in page
    gp, random = table_with(page, "better than random")
    # After 2 1/3 trials: gp 100 and 101, random 103 and 99.
    assert gp["best"] == "100.50 ± 0.71" and random["best"] == "101.00 ± 2.83"
    assert (gp["better than random"], gp["mean difference"]) == ("1 of 2", "-0.50")
    assert (written.path.parent / "tiny-search-samplers-binary-tiny_vae_3.svg").exists()
    (own,) = [each for each in load_searches(store, "tiny", spec.protocol.name) if not each.winner.label]
    assert own.winner.serves and Progression.of(own).bests == (105.0, 100.0, 90.0)


def test_the_rank_correlation_of_short_and_long_trials(make_spec, store, tmp_path, parameters):
    spec = make_spec(search={"epochs": 1, "compare": {"epochs": [3]}})
    short, long = [study for study in studies_to_run(spec, spec.cells, compare=True) if study.cell.method == "vae"]
    assert (short.epochs, long.epochs, long.label) == (1, 3, "epochs-3")
    assert propose(short, [], 0, 3) == propose(long, [], 0, 3)  # random points do not depend on what came of others
    write_winner(short.path(store), made_up_winner(short, parameters[:5], [1.0, 2.0, 3.0, 4.0, None]))
    write_winner(long.path(store), made_up_winner(long, parameters[:5], [20.0, 10.0, 30.0, 40.0, 5.0]))
    (written,) = build_reports(store, tmp_path / "reports")
    page = written.path.read_text()
    (row,) = table_with(page, "rank correlation")
    # Ranks 1 2 3 4 and 2 1 3 4: 1 - 6 * 2 / (4 * 15) = 0.8.
    assert (row["short"], row["long"], row["trials"], row["rank correlation"]) == ("1", "3", "4", "0.80")
    assert (row["rank of the choice"], row["its cost"]) == ("2 of 4", "10.00 nats")
    assert "1 (final 3)" in page
    # Other points are not compared.
    write_winner(long.path(store), made_up_winner(long, parameters[1:6]))
    (written,) = build_reports(store, tmp_path / "reports")
    assert "rank correlation" not in written.path.read_text()


def test_a_study_without_a_complete_trial_by_then_is_in_no_mean_of_its_sampler():
    bests = {("gp", 0): math.inf, ("gp", 1): 90.0, ("random", 0): 95.0, ("random", 1): math.inf, ("tpe", 0): math.inf}
    assert text._sampler("gp", bests, NATS) == ["gp", "1", "90.00", "-", "-"]
    assert text._sampler("tpe", bests, NATS)[1:] == ["0", "-", "-", "-"]
