"""The picture of the model space says what is so, and is the same to the byte each time."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import matplotlib
import pytest
import torch
from click.testing import CliRunner

from vdae_bench.cli.main import cli
from vdae_bench.illustration.picture import draw, values_table
from vdae_bench.illustration.toy import TEST_POINTS, WAVE_NOISE, draw_data, illustrate, wave


@pytest.fixture(scope="module")
def shown():
    """Models trained for a second or two: enough for the order of their scores."""
    return illustrate(steps=120)


@pytest.fixture
def portraits(shown):
    vae, lvdae, vdae, _, flow = shown.portraits
    return {"vae": vae, "lvdae": lvdae, "vdae": vdae, "flow": flow}


def test_drawings_have_the_same_bytes_whatever_the_users_settings(shown):
    first = draw(shown)
    with matplotlib.rc_context({"lines.linewidth": 7, "font.size": 20, "svg.hashsalt": "mine"}):
        again = draw(shown)
    assert first == again
    assert b"<dc:date>" not in first["svg"]
    other = replace(shown, coupled=tuple(score + 0.5 for score in shown.coupled))
    assert draw(other)["png"] != first["png"]


def test_the_coupled_bound_closes_in_on_the_flows_exact_likelihood(shown):
    gaps = [score - shown.flow_nll for score in shown.coupled]
    assert all(large > small for large, small in pairwise(gaps))
    assert 0 < gaps[-1] < 0.2 * gaps[0]


def test_a_decoder_of_its_own_denoises(shown):
    assert shown.decoupled[0] < shown.coupled[0] - 0.2
    vdae = shown.portraits[2]
    noise = (vdae.noisy_inputs - shown.points[:, None]).norm(dim=-1)
    error = (vdae.reconstructions - shown.points[:, None]).norm(dim=-1)
    assert error.mean() < 0.85 * noise.mean()


def test_no_model_is_below_the_entropy_of_the_data(shown):
    x = draw_data("test", 0, TEST_POINTS).double()
    centres = wave(torch.linspace(0, 1, 1001).double())
    log_p = torch.logsumexp(-((x[:, None] - centres).square().sum(-1)) / (2 * WAVE_NOISE**2), 1)
    entropy = (math.log(2 * math.pi * WAVE_NOISE**2 * len(centres)) - log_p).mean().item()
    scores = [*shown.coupled, *shown.decoupled, *(portrait.score for portrait in shown.portraits)]
    assert min(scores) > entropy


def test_posteriors_have_the_shapes_of_their_formulas(portraits):
    """Opposite points of a circle: their images have the centre in the middle unless f bends them."""
    bend = {}
    for name, portrait in portraits.items():
        offsets = portrait.latents - portrait.centres[:, None]
        half = offsets.shape[1] // 2
        bend[name] = (offsets[:, :half] + offsets[:, half:-1]).abs().max().item()
    assert bend["vae"] < 1e-4 and bend["lvdae"] < 1e-4 and bend["vdae"] > 0.1

    def tilt(name):
        """Correlation of the two latents along the outlines."""
        offsets = portraits[name].latents[:, :-1] - portraits[name].centres[:, None]
        first, second = offsets.unbind(-1)
        return ((first * second).mean(1) / (first.square().mean(1) * second.square().mean(1)).sqrt()).abs()

    assert (tilt("vae") < 1e-4).all() and tilt("lvdae").max() > 0.05


def test_a_flow_is_vdae_without_noise(shown, portraits):
    flow = portraits["flow"]
    torch.testing.assert_close(flow.latents, flow.centres[:, None].expand_as(flow.latents))
    torch.testing.assert_close(flow.reconstructions, shown.points[:, None].expand_as(flow.reconstructions))


def test_the_verb_writes_picture_and_numbers_the_same_each_time(tmp_path):
    out = tmp_path / "new" / "folder"
    done = CliRunner().invoke(cli, ["illustrate", "--out", str(out), "--steps", "4"], catch_exceptions=False)
    assert done.exit_code == 0
    again = illustrate(steps=4)
    table = values_table(again)
    files = {f"space.{ending}": content for ending, content in draw(again).items()}
    files["space.csv"] = table.to_csv(index=False, lineterminator="\n").encode()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files
    assert all(str(out / name) in done.output for name in files)
    assert table.neg_elbo_nats[2] == round(again.portraits[2].score, 3)
    assert table.exact_nll_nats.iloc[-1] == round(again.flow_nll, 3)
    assert f"(sigma = 0): {again.flow_nll:.2f}" in done.output
