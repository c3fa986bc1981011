"""`watch`: the home, served to whoever has the token, with what runs now by leases and checkpoints alone."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.browser import opened_tab
from tests.support.records import PROTOCOL, made_up_record, publish
from tests.support.shell import Shell
from tests.support.specs import LONG
from vdae_bench.errors import EnvironmentFault
from vdae_bench.site import live
from vdae_bench.site.live import Watch
from vdae_bench.site.server import serving
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.asked import Asked, AskedCell, write_asked
from vdae_bench.store.records import RecordedCell, Store
from vdae_bench.system.lease import Lease
from vdae_bench.training.checkpoint import Checkpoint

CELL = Cell("binary-mnist", "vae", 16)
PLACE = ("mini", "quick")


@pytest.fixture(autouse=True)
def no_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims take seconds to judge, and are on the page of other tests."""
    monkeypatch.setattr("vdae_bench.site.home.judge_claims", lambda runs: [])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two seeds asked for, of which one has a record."""
    store = Store(tmp_path / "results")
    records = [made_up_record(CELL, seed) for seed in range(2)]
    asked_for(store, 2)
    publish(store, *PLACE, CELL.slug, records[:1])
    return store


@pytest.fixture
def working(store: Store) -> Iterator[Lease]:
    """Seed 1 trains in this process: its lease and its checkpoint after two epochs."""
    path = store.checkpoints(*PLACE) / "0123456789abcdef.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = made_up_record(CELL, 1).run_digest
    curve = {"train": [[99.0], [95.0]], "validation": [[98.0], [float("nan")]], "validation_error": [[0.0], [0.0]]}
    Checkpoint(path, "identity").save({"trainer": {"curve": curve, "weights": torch.zeros(3)}, "runs": [digest]})
    lease = Lease(path.with_suffix(".lease"))
    lease.note = {"label": "binary-mnist_vae_16 seed 1", "phase": "epoch 3/4", "fraction": 0.5}
    lease.take()
    with lease.kept():
        yield lease


def ask(address: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.usefixtures("working")
def test_it_says_what_each_process_is_at_with_its_curve_so_far(store: Store) -> None:
    watch = Watch(store, PLACE)
    watch.draw()
    now = watch.now()
    assert now["said"].startswith("mini, quick: 1 of 2 runs there, 1 process at work, about ")
    (process,) = now["processes"]
    assert process["label"] == "binary-mnist_vae_16 seed 1" and process["at"] == "epoch 3/4, 50%"
    (curve,) = process["curves"]
    assert curve["label"] == "binary-mnist_vae_16, seed 1" and process["unit"] == "nats"
    assert (curve["epoch"], curve["validation"]) == ([1, 2], [98.0, None])
    json.dumps(now, allow_nan=False)


def test_the_time_left_is_by_the_speed_since_it_was_first_seen(
    store: Store, working: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 140.0, 150.0])
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    watch = Watch(store, PLACE)
    assert watch.now()["processes"][0]["left"] == ""
    working.note["fraction"] = 0.75
    working.path.write_bytes(working._content())
    assert watch.now()["processes"][0]["left"] == "about 40 s left"
    assert watch.now()["processes"][0]["left"] == "about 30 s left"  # no news is no delay


def test_a_checkpoint_that_is_none_leaves_no_curve(store: Store, working: Lease) -> None:
    working.path.with_suffix(".pt").write_bytes(b"torn")
    assert Watch(store, PLACE).now()["processes"][0]["curves"] == []
    assert working.path.with_suffix(".pt").read_bytes() == b"torn"  # it is the training's, and is left as it is


def test_a_page_without_a_record_is_there_and_one_with_new_records_follows(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    watch = Watch(store)
    watch.draw()
    assert "0 records" in watch.page and watch.now()["said"] == "Nothing runs."
    before = watch.now()["version"]
    publish(store, *PLACE, CELL.slug, [made_up_record(CELL, 0, PROTOCOL)])
    watch._due = 0.0
    watch.draw()
    assert "1 record of 1 cell" in watch.page and watch.now()["version"] != before


def asked_for(store: Store, seeds: int) -> None:
    digests = [made_up_record(CELL, seed).run_digest for seed in range(seeds)]
    cell = AskedCell(cell=RecordedCell(**CELL.as_record()), method_title="VAE", seeds=seeds, run_digests=digests)
    write_asked(store, *PLACE, Asked(schema=1, spec_seeds=seeds, cells=[cell]))


@pytest.mark.parametrize("place", [PLACE, None])
def test_it_counts_what_is_there_now_whatever_the_page_shows(store: Store, working: Lease, place: Any) -> None:
    asked_for(store, 4)
    watch = Watch(store, place)
    watch.draw()
    watch.now()
    watch._due = time.monotonic() + 3600  # a slow drawing
    publish(store, *PLACE, CELL.slug, [made_up_record(CELL, seed) for seed in (1, 2)])
    watch.draw()
    assert "1 record of" in watch.page and watch.now()["said"].startswith("mini, quick: 3 of 4 runs there, 1 process")
    other = made_up_record(CELL, 2, hyperparameters={"learning_rate": 0.5})
    publish(store, *PLACE, CELL.slug, [other])  # another run than was asked for
    assert watch.now()["said"].startswith("mini, quick: 2 of 4 runs there, 1 process")


def test_the_pause_between_drawings_is_short_and_the_end_waits_for_none(
    store: Store, working: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(store, PLACE)
    watch.now()
    clock = [0.0]

    def slow_page(*words: Any, **more: Any) -> str:
        clock[0] += 40
        return "1 record of 1 cell"

    with monkeypatch.context() as slow:
        slow.setattr(live.time, "monotonic", lambda: clock[0])
        slow.setattr(live, "home_page", slow_page)
        watch._due = -1.0
        watch.draw()
    assert watch._due == 40 + live.LONGEST_PAUSE
    watch._due = time.monotonic() + 3600
    publish(store, *PLACE, CELL.slug, [made_up_record(CELL, 1)])
    watch.draw()
    assert "1 record of" in watch.page  # something trains
    working.path.unlink()
    assert watch.now()["said"] == "mini, quick: 2 of 2 runs there, 0 processes at work."
    watch.draw()
    assert "2 records of" in watch.page


@pytest.mark.parametrize("place", [PLACE, None])
def test_a_killed_sweep_does_not_look_finished(store: Store, working: Lease, place: Any) -> None:
    watch = Watch(store, place)
    assert "1 of 2 runs there, 1 process at work" in watch.now()["said"]
    working.path.unlink()
    stopped = "mini, quick: 1 of 2 runs there, stopped after a checkpoint; repeat the command."
    assert watch.now()["said"] == stopped
    publish(store, *PLACE, CELL.slug, [made_up_record(CELL, 1)])  # left over: what it has is there
    assert "stopped" not in watch.now()["said"]


def test_nothing_is_served_without_the_token_or_under_another_name(store: Store) -> None:
    with serving(Watch(store)) as address:
        root, token = address[: address.index("/", 7)], address.rstrip("/").rpartition("/")[2]
        assert root.startswith("http://127.0.0.1:") and len(token) >= 32
        assert ask(address)[0] == 200 and ask(f"{address}now.json")[0] == 200
        others = [
            "/",
            f"/{token[:-1]}/",
            "/now.json",
            f"/{token}/../../etc/passwd",
            f"/{token}/results",
            f"/x/{token}/",
        ]
        assert [ask(root + path) for path in others] == [(404, "")] * len(others)
        assert ask(address, Host="example.org:80") == (404, "")


@pytest.mark.usefixtures("working")
def test_a_browser_shows_what_runs_and_loads_new_records(store: Store, tmp_path: Path) -> None:
    watch = Watch(store)
    with opened_tab(tmp_path) as tab, serving(watch) as address:
        tab.open(address, 390, dark=True)
        tab.wait("document.querySelector('#now-processes canvas')")
        text: Any = tab.run("document.getElementById('now-processes').textContent")
        assert "binary-mnist_vae_16 seed 1" in text and "epoch 3/4, 50%" in text
        assert tab.faults() == [] and tab.cut_off() == []
        assert tab.complaints == [] and {each.partition("?")[0] for each in tab.asked_for} <= {
            address,
            f"{address}now.json",
        }
        publish(store, "more", "quick", CELL.slug, [made_up_record(CELL, 0)])
        watch._due = 0.0
        tab.wait("document.querySelectorAll('.cards li').length === 2")


@pytest.mark.slow
@pytest.mark.usefixtures("no_pages", "no_counts", "forked_workers")
def test_beside_a_real_sweep_it_shows_what_is_at_work_its_curve_the_time_left_and_the_end(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Lease.kept
    monkeypatch.setattr(Lease, "kept", lambda lease, *_: kept(lease, 0.1))  # else it moves after 20 s
    LONG.but(protocol={"epochs": 150}).write(shell.folder)
    watch = shell.start("watch", "tiny.yaml")
    while not watch.said().startswith("http"):
        assert watch.poll() is None
        time.sleep(0.05)
    with opened_tab(tmp_path) as tab:
        tab.open(watch.said().split()[0])
        now = "globalThis.ask?.(), document.getElementById('now')?.parentElement"  # asked more often than by itself
        tab.wait(f"({now})?.textContent.includes('0 processes at work')")
        run = shell.start("sweep", "tiny.yaml", "--checkpoint-every", "0.2s", "-q")
        tab.wait(f"/binary-tiny_lvdae_4 seeds 0, 1[^]*epoch .*about .* left/.test(({now})?.innerText)")
        names = f"[...({now})?.querySelectorAll('.u-legend th') ?? []].map((each) => each.textContent).join('; ')"
        tab.wait(f"{names} === 'epoch; binary-tiny_lvdae_4, seed 0; binary-tiny_lvdae_4, seed 1'")
        run.communicate(timeout=60)
        assert run.returncode == 0
        tab.wait(f"({now})?.textContent.includes('2 of 2 runs there, 0 processes at work')")
        tab.wait("document.querySelectorAll('#table tbody tr').length === 1")
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=60)
    assert watch.returncode == 0


def test_what_cannot_be_read_now_is_said_and_the_server_lives_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable(*_: Any) -> None:
        raise EnvironmentFault("cannot read seed-0.json: Permission denied")

    with serving(Watch(store)) as address:
        with monkeypatch.context() as patch:
            patch.setattr(live, "at_work", unreadable)
            patch.setattr(live, "load_runs", unreadable)
            store.checkpoints(*PLACE).mkdir(parents=True, exist_ok=True)
            status, text = ask(f"{address}now.json")
            assert status == 200 and json.loads(text)["said"] == "cannot read seed-0.json: Permission denied"
        assert json.loads(ask(f"{address}now.json")[1])["said"] != "cannot read seed-0.json: Permission denied"
    assert "Traceback" not in capsys.readouterr().err


def test_all_runs_of_a_group_count_as_begun_and_no_trial_does(store: Store, working: Lease) -> None:
    path = working.path.with_suffix(".pt")
    curve = {"train": [[99.0] * 10], "validation": [[98.0] * 10], "validation_error": [[0.0] * 10]}
    Checkpoint(path, "identity").save({"trainer": {"curve": curve}, "runs": [str(seed) for seed in range(10)]})
    (process,) = Watch(store, PLACE).now()["processes"]
    assert process["runs"] == 10 and len(process["curves"]) < 10
    Checkpoint(path, "identity").save({"trainer": {"curve": curve}, "alive": [0, 1]})
    working.note["label"] = "search binary-mnist_vae_16, trials 0, 1"
    working.path.write_bytes(working._content())
    assert Watch(store, PLACE).now()["processes"][0]["runs"] == 0
