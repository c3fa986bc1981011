"""Checkpoints: whole or not used, the previous one kept, foreign ones set aside."""

import pickle

import pytest
import torch

from vdae_bench.training.checkpoint import Checkpoint

STATE = {"step": 3, "tensor": torch.arange(4.0), "curve": {"train": [[1.0, 2.0]]}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cell" / "checkpoint-0.pt"


def test_round_trip(path):
    Checkpoint(path, "a").save(STATE)
    loaded = Checkpoint(path, "a").load()
    assert loaded["step"] == 3 and loaded["curve"] == STATE["curve"] and torch.equal(loaded["tensor"], STATE["tensor"])


def test_a_torn_file_falls_back_to_the_previous_one_and_is_kept_aside(path):
    checkpoint = Checkpoint(path, "a")
    checkpoint.save(STATE)
    checkpoint.save({**STATE, "step": 4})
    path.write_bytes(path.read_bytes()[:100])
    assert Checkpoint(path, "a").load()["step"] == 3
    assert len(list(path.parent.glob("*.unusable-*"))) == 1


def test_a_foreign_checkpoint_is_not_used_and_not_deleted(path):
    Checkpoint(path, "another run").save(STATE)
    assert Checkpoint(path, "a").load() is None
    assert len(list(path.parent.glob("*.unusable-*"))) == 1


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint executed code",))


def test_loading_never_executes_code(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(Evil()))
    assert Checkpoint(path, "a").load() is None
    torch.save({"identity": "a", "state": Evil()}, path)
    assert Checkpoint(path, "a").load() is None


def test_due_after_the_interval(path):
    assert Checkpoint(path, "a", seconds_between=0.0).due
    assert not Checkpoint(path, "a", seconds_between=100.0).due


def test_removed_when_done(path):
    checkpoint = Checkpoint(path, "a")
    checkpoint.save(STATE)
    checkpoint.save(STATE)
    checkpoint.remove()
    assert list(path.parent.iterdir()) == []
