"""What a flow from outside can get wrong, and the sentence about it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vdae_bench.api import check_flow
from vdae_bench.errors import UserError
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.flows.base import FlowKind, StandardisedFlow
from vdae_bench.models.registry import get_method


class Stretch(StandardisedFlow):
    """A right flow: z = exp(bend) y, and bend = 0 at the start."""

    def __init__(self, problem):
        super().__init__(problem.replicas, problem.data_dim)
        self.bend = nn.Parameter(torch.zeros(*self.axis(problem), problem.data_dim))

    def axis(self, problem):
        return problem.replicas, 1

    def core(self, y):
        return y * self.bend.exp(), self.bend.sum(-1).expand(y.shape[:2])

    def core_inverse(self, z):
        return z * torch.exp(-self.bend)


class NoReplicas(Stretch):
    def axis(self, problem):
        return 1, 1


class NoDeterminant(Stretch):
    def core(self, y):
        return super().core(y)[0]


class FlatDeterminant(Stretch):
    def core(self, y):
        z, log_det = super().core(y)
        return z, log_det.flatten()


class DeterminantOfTheBatch(Stretch):
    def core(self, y):
        z, log_det = super().core(y)
        return z, log_det.sum(1, keepdim=True)


class ShiftedInverse(Stretch):
    def core_inverse(self, z):
        return super().core_inverse(z) + 1


class InverseWithoutGradient(Stretch):
    def core_inverse(self, z):
        with torch.no_grad():
            return super().core_inverse(z)


class NoAffineStart(Stretch):
    def core(self, y):
        return y * torch.exp(1 + self.bend), (1 + self.bend).sum(-1).expand(y.shape[:2])


class ImagesMix(Stretch):
    def core(self, y):
        z, log_det = super().core(y)
        return z + self.bend * (y - y.mean(1, keepdim=True)).detach(), log_det


class ReplicasMix(Stretch):
    def core(self, y):
        mean = self.bend.mean(0, keepdim=True)
        return y * mean.exp(), mean.sum(-1).expand(y.shape[:2])


class WrongPush(Stretch):
    def push_forward(self, x, tangents):
        z, log_det, pushed = super().push_forward(x, tangents)
        return z, log_det, 2 * pushed


class Breaks(Stretch):
    def core(self, y):
        raise AttributeError("no such thing")


FAULTS = {
    NoReplicas: "parameter bend of shape (1, 1, 16)|lacks the leading axis of replicas",
    NoDeterminant: "it cannot be started (",
    FlatDeterminant: "it cannot be started (",
    DeterminantOfTheBatch: "its log-determinant is not that of autograd's Jacobian",
    ShiftedInverse: "its inverse does not undo it",
    InverseWithoutGradient: "gradients do not pass its inverse|differentiable_inverse=False",
    NoAffineStart: "start_affine_ does not start it",
    ImagesMix: "the latents of an image depend on the other images",
    ReplicasMix: "the latents of a replica depend on another's parameters",
    WrongPush: "push_forward is not t J^T",
    Breaks: "it cannot be started (AttributeError: no such thing)",
}


@pytest.fixture
def admit(monkeypatch):
    return lambda build, **more: monkeypatch.setitem(FLOWS, "mine", FlowKind("mine", build, **more))


@pytest.mark.parametrize(("build", "sentence"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_wrong_with_a_flow_is_said_in_a_sentence(admit, build, sentence):
    admit(build)
    with pytest.raises(UserError) as caught:
        check_flow("mine")
    assert str(caught.value).startswith("the flow 'mine' is wrong: ")
    assert all(part in str(caught.value) for part in sentence.split("|"))


SMALL_SIZES = {"nice": {"coupling_hidden_size": 8}, "couplings": {"coupling_hidden_size": 8}}


@pytest.mark.parametrize("flow", FLOWS)
def test_every_flow_of_the_package_is_right(flow):
    check_flow(flow, sizes=SMALL_SIZES.get(flow))


def test_a_right_flow_passes_and_a_wrong_word_is_answered(admit):
    admit(Stretch)
    check_flow("mine", shape=(2, 3))
    with pytest.raises(UserError, match=r"there is no flow 'mined' \(did you mean 'mine'"):
        check_flow("mined")
    with pytest.raises(UserError, match="images of 3 x 3 cannot be halved 2 times"):
        check_flow("glow", shape=(3, 3))


def test_a_flow_whose_inverse_has_no_gradient_decodes_nothing(admit):
    admit(InverseWithoutGradient, differentiable_inverse=False)
    check_flow("mine")
    for method in ("vdae-nice", "vdae-coupled"):
        with pytest.raises(UserError, match="gradients do not pass that of mine"):
            get_method(method).check("continuous", 784, 784, {"flow": "mine"})
    for method in ("vdae-resnet", "lvdae-nice"):
        get_method(method).check("continuous", 784, 784, {"flow": "mine"})


PLUGIN = """\
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.flows.base import FlowKind, StandardisedFlow
from vdae_bench.models.hyperparameters import Hyperparameter
BENDS = Hyperparameter("bends", int, 2, ge=1, meaning="bends")
class Bent(StandardisedFlow):
    def core(self, y):
        return y{core}
    def core_inverse(self, z):
        return z
FLOWS["bent"] = FlowKind("bent", lambda problem: Bent(problem.replicas, problem.data_dim), {sizes})
"""
OF_A_PLUGIN = {
    ("", "(BENDS,)"): (1, "or in the plugin bent.py (ValueError: "),
    (", y.nothing", "(BENDS,)"): (2, "plugin bent.py, line 7: AttributeError: "),
    (", y.new_zeros(y.shape[:2])", "BENDS"): (2, "the flow 'bent': its hyperparameters must be a tuple of "),
}


@pytest.mark.parametrize(("core", "sizes", "code", "sentence"), [(*key, *value) for key, value in OF_A_PLUGIN.items()])
def test_an_error_of_a_plugin_is_not_called_a_bug_of_ours(shell, core, sizes, code, sentence):
    (shell.folder / "bent.py").write_text(PLUGIN.format(core=core, sizes=sizes))
    (shell.folder / "bent.yaml").write_text(
        "version: 1\nname: bent\ngrid: {dataset: [continuous-tiny], method: [bent], latents: [36]}\nseeds: 1\n"
    )
    # A process of its own, where no test looks at the types of what the plug-in gives.
    done = shell.run("plan", "bent.yaml", "--protocol", "smoke", plugins=(shell.folder / "bent.py",), fresh=True)
    assert done.returncode == code and sentence in done.stderr and "Traceback" not in done.stderr
