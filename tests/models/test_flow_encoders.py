"""Option `flow` of the methods with a flow as encoder, and a flow from outside the package."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch.distributions import Normal

from tests.support.models import DATA_DIM, IMAGE_SHAPE, SMALL, data, noise
from tests.support.truths import full_jacobians, randn
from vdae_bench.data.noise import initial_generators
from vdae_bench.data.views import PixelStatistics
from vdae_bench.errors import UserError
from vdae_bench.models import registry
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.flows.base import Flow, FlowKind, StandardisedFlow
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.registry import Problem, get_method, load_plugin
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.hyperparameters import Vocabulary, hyperparameters_of

SERVED = {
    method: [name for name, kind in FLOWS.items() if kind.at_every_sample or method == "lvdae-nice"]
    for method in ("lvdae-nice", "vdae-resnet", "vdae-nice", "vdae-coupled")
}
CELLS = [(method, flow) for method, flows in SERVED.items() for flow in flows]


def encoder(method, flow, randomise=True, **options):
    problem = Problem(
        2,
        DATA_DIM,
        DATA_DIM,
        "continuous",
        {**SMALL, "ode_steps": 8},
        {"flow": flow, **options},
        image_shape=IMAGE_SHAPE,
    )
    model = get_method(method).build(problem).double()
    model.initialise(initial_generators((0, 1)))
    if randomise:
        with torch.no_grad():
            for index, parameter in enumerate(model.posterior.flow.parameters()):
                parameter += 0.15 * randn(*parameter.shape, seed=index)
    return model


@pytest.mark.parametrize(("method", "flow"), CELLS)
def test_log_q_has_the_determinant_of_each_sample(method, flow):
    """VDAE's at x + eps, one a sample; L-VDAE's at x, one an image: by autograd's Jacobian, in training and after."""
    model = encoder(method, flow)
    posterior, x, w = model.posterior, data("continuous"), noise(model, 5, samples=3)
    sigma = posterior.log_sigma.detach().exp()
    z, log_q = posterior.condition(x, 3)(w)
    for k in range(3):
        point = x if method == "lvdae-nice" else x + sigma * w[:, :, k]
        jacobians = full_jacobians(posterior.flow, point)
        volume = torch.linalg.slogdet(jacobians).logabsdet
        at = posterior.flow(point)
        if method == "lvdae-nice":
            at = at + (jacobians @ (sigma * w[:, :, k])[..., None])[..., 0]
        expected = Normal(0.0, sigma).log_prob(sigma * w[:, :, k]).sum(-1) - volume
        torch.testing.assert_close(z[:, :, k], at, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(log_q[:, :, k], expected, rtol=1e-6, atol=1e-6)
    many = posterior.condition(x, DATA_DIM + 1)(w)
    torch.testing.assert_close(many, (z, log_q), rtol=1e-9, atol=1e-9)
    shared = x[:1].expand(2, -1, -1)  # as in evaluation
    torch.testing.assert_close(posterior.condition(shared, 3)(w)[0][:1], z[:1], rtol=1e-9, atol=1e-9)
    divergence = posterior.sample_with_divergence(x, w[:, :, 0], model.prior, 0).divergence
    expected = (log_q - model.prior.log_prob(z))[:, :, 0].mean(1)
    torch.testing.assert_close(divergence, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("flow", SERVED["vdae-coupled"])
def test_a_coupled_decoder_undoes_its_flow(flow):
    model = encoder("vdae-coupled", flow)
    x, w = data("continuous"), noise(model, 5, samples=1)
    z, _ = model.posterior.condition(x)(w)
    noisy = x + model.posterior.log_sigma.exp() * w[:, :, 0]
    torch.testing.assert_close(model.decoder(z[:, :, 0]), noisy, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("method", "flow"), CELLS)
def test_it_starts_from_data_as_with_nice(method, flow):
    """The same latents, reconstructions and lambda as with NICE, whatever the flow."""
    statistics = PixelStatistics(
        torch.linspace(0.2, 0.8, DATA_DIM).double(), torch.linspace(0.01, 0.1, DATA_DIM).double()
    )
    mine, nice = (encoder(method, name, randomise=False) for name in (flow, "nice"))
    for model in (mine, nice):
        model.initialise_from_data(statistics)
    x, w = data("continuous"), noise(nice, 5, samples=2)
    torch.testing.assert_close(mine.condition(x)(w), nice.condition(x)(w), rtol=1e-5, atol=1e-5)


def test_wide_flows_take_fewer_images_at_a_time():
    """64 channels at a quarter of the pixels are 16 rows of n numbers; with NICE all is as it was."""
    sizes = {**SMALL, "flow_channels": 64, "flow_hidden_size": 40}
    rows = {}
    for method in ("vdae-resnet", "lvdae-nice"):
        for flow in ("nice", "glow"):
            problem = Problem(1, 16, 16, "continuous", sizes, {"flow": flow})
            model = get_method(method).build(problem)
            rows[method, flow] = [model.training_jacobian_rows, *(model.jacobian_rows(k) for k in (1, 16, 17))]
    assert rows["vdae-resnet", "nice"] == [1, 1, 1, 1] and rows["lvdae-nice", "nice"] == [1, 1, 1, 16]
    assert rows["vdae-resnet", "glow"] == [16, 16, 16 * 16, 16 * 17]
    assert rows["lvdae-nice", "glow"] == [16, 16, 16 * 16, 16 * 16]
    residual = get_method("i-resnet").build(Problem(1, 16, 16, "continuous", sizes))
    assert residual.jacobian_rows(1) == residual.training_jacobian_rows == 100


def test_flows_that_cannot_serve_are_refused():
    for method, served in SERVED.items():
        for flow in FLOWS:
            if flow in served:
                get_method(method).check("continuous", DATA_DIM, DATA_DIM, {"flow": flow})
            else:
                with pytest.raises(UserError, match=f"{method} .* costs too much for {flow}; use"):
                    get_method(method).check("continuous", DATA_DIM, DATA_DIM, {"flow": flow})
    with pytest.raises(UserError, match="option flow is 'gloww'; use one of nice, couplings"):
        get_method("vdae-resnet").check("continuous", DATA_DIM, DATA_DIM, {"flow": "gloww"})


def test_a_cell_trains_with_the_sizes_of_its_flow_alone():
    """So that no digest of a NICE cell knows of other flows; a spec may set the sizes of any."""
    method = get_method("vdae-resnet")
    plain, glow = (set(hyperparameters_of(method, options)) for options in ({}, {"flow": "glow"}))
    assert {"coupling_layers", "decoder_hidden_size"} < plain and "flow_scales" not in plain
    assert {"flow_scales", "decoder_hidden_size"} < glow and "coupling_layers" not in glow
    assert Vocabulary((method,)).own.keys() > plain | glow


PLUGIN = '''
from torch import Tensor
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.flows.base import FlowKind, StandardisedFlow


class Affine(StandardisedFlow):
    """One scale and shift of each dimension, and nothing more."""

    def core(self, y: Tensor):
        return y, 0 * y[..., 0]

    def core_inverse(self, z: Tensor):
        return z


FLOWS["affine-map"] = FlowKind("affine map", lambda problem: Affine(problem.replicas, problem.data_dim))
'''


class Partial(StandardisedFlow):
    """A flow whose author forgot its inverse."""

    def core(self, y):
        return y, 0 * y[..., 0]


class Dimless(Flow):
    """A flow whose author forgot all but the map."""

    def forward_and_log_det(self, x):
        return x, 0 * x[..., 0]


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda problem: Partial(problem.replicas, problem.data_dim), "its class Partial lacks core_inverse; add"),
        (lambda problem: Dimless(), "its class Dimless lacks inverse and start_affine_ and dims; add"),
        (lambda problem: torch.nn.Linear(2, 2), "builds a Linear, which is no Flow"),
    ],
)
@pytest.mark.parametrize("method", ["mine", "lvdae-nice"])
def test_an_incomplete_flow_is_refused_when_it_is_built_by_what_it_lacks(monkeypatch, method, build, said):
    """As the fault of whoever wrote it, and before anything trains: a plan weighs every model."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setitem(FLOWS, "mine", FlowKind("my flow", build))
    options = {} if method == "mine" else {"flow": "mine"}
    with pytest.raises(UserError, match=f"^the flow 'my flow' .*{said}"):
        get_method(method).build(Problem(1, DATA_DIM, DATA_DIM, "continuous", SMALL, options, image_shape=IMAGE_SHAPE))


def test_a_flow_with_a_protocols_word_in_other_bounds_is_told_where_the_value_is_from(monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    steps = Hyperparameter("flow_steps", float, 0.5, gt=0, lt=1, meaning="size of a step")
    monkeypatch.setitem(FLOWS, "mine", FlowKind("my flow", FLOWS["nice"].build, (steps,)))
    spec = {"version": 1, "name": "mine", "grid": {"dataset": ["continuous-mnist"], "method": ["mine"]}}
    spec["grid"]["latents"] = [784]
    with pytest.raises(UserError, match="mine: the flow_sizes of protocol quick set flow_steps to 2, but input should"):
        load_spec(spec)
    loaded = load_spec({**spec, "hyperparameters": {"flow_steps": 0.25}})
    assert loaded.resolved_hyperparameters(loaded.cells[0])["flow_steps"] == 0.25


def test_no_method_of_ours_has_code_from_outside_in_its_identity():
    """Not that of Python's own `abc` either, which is another in each version."""
    for method in (*registry.BUILT_IN, *FLOWS):
        assert get_method(method).plugin_sha256 is None, method


@pytest.fixture
def own_registry(monkeypatch):
    """Plug-ins of a test alone."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    monkeypatch.setattr(registry, "_foreign_flows", {})
    before = dict(FLOWS)
    yield
    FLOWS.clear()
    FLOWS.update(before)


@pytest.mark.usefixtures("own_registry")
def test_a_flow_from_outside_is_one_file_and_one_line(tmp_path):
    """It has a row, is an encoder's option, and has every product with its Jacobian."""
    (tmp_path / "affine.py").write_text(PLUGIN)
    load_plugin(tmp_path / "affine.py")
    assert get_method("affine-map").title == "affine map" and "affine-map" in registry.method_ids()
    get_method("vdae-coupled").check("continuous", 20, 20, {"flow": "affine-map"})
    digest = hashlib.sha256(PLUGIN.encode()).hexdigest()
    for method, options in (("affine-map", {}), ("vdae-coupled", {"flow": "affine-map"})):
        assert get_method(method).code_with(options)["flow_sha256"] == digest
    assert "flow_sha256" not in get_method("vdae-coupled").code_with({})
    assert get_method("affine-map").plugin_sha256 is None  # its row is ours, and the flow's bytes say the rest
    flow = encoder("lvdae-nice", "affine-map").posterior.flow
    x, tangents = randn(2, 3, DATA_DIM, seed=1), randn(2, 3, 4, DATA_DIM, seed=2)
    jacobians = full_jacobians(flow, x)
    _, log_det, pushed = flow.push_forward(x, tangents)
    torch.testing.assert_close(pushed, tangents @ jacobians.mT)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobians).logabsdet)


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("name", ["glow", "vae"])
def test_a_flow_from_outside_takes_no_name_of_ours(tmp_path, name):
    before = dict(FLOWS)
    (tmp_path / "taken.py").write_text(PLUGIN.replace('"affine-map"', f'"{name}"'))
    with pytest.raises(UserError, match=f"the name '{name}' is already that of another flow or method"):
        load_plugin(tmp_path / "taken.py")
    assert before == FLOWS and "flow_sha256" not in get_method(name).code_with({})


@pytest.mark.usefixtures("own_registry")
def test_two_files_cannot_have_one_flow_but_an_edit_of_one_is_another(tmp_path):
    for name in ("first.py", "second.py"):
        (tmp_path / name).write_text(PLUGIN)
    load_plugin(tmp_path / "first.py")
    before = get_method("affine-map").code_with({})
    with pytest.raises(UserError, match="'affine-map' is already"):
        load_plugin(tmp_path / "second.py")
    assert get_method("affine-map").code_with({}) == before
    (tmp_path / "first.py").write_text(PLUGIN.replace('"affine map"', '"map, edited"'))
    load_plugin(tmp_path / "first.py")
    assert get_method("affine-map").code_with({}) != before and get_method("affine-map").title == "map, edited"


@pytest.mark.usefixtures("own_registry")
def test_what_is_no_kind_of_flow_is_refused(tmp_path):
    (tmp_path / "odd.py").write_text('from vdae_bench.models.flows import FLOWS\nFLOWS["odd"] = 3\n')
    with pytest.raises(UserError, match=r"FLOWS\['odd'\] must be a FlowKind"):
        load_plugin(tmp_path / "odd.py")
    (tmp_path / "odd.py").write_text(PLUGIN + "\n1 / 0\n")
    with pytest.raises(UserError, match="ZeroDivisionError"):
        load_plugin(tmp_path / "odd.py")
    assert "odd" not in FLOWS and "affine-map" not in FLOWS
