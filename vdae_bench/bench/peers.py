"""The other side of each comparison, on the batch, sizes and numbers of samples of `ours`, in float32.

Every peer has as many parameters as the model of ours that it stands beside (`require_same_size`).
"""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdae_bench.bench.ours import Setting, Timed
from vdae_bench.bench.plain import PlainLVDAE, resnet
from vdae_bench.bench.timing import Contestant
from vdae_bench.errors import VdaeBenchError
from vdae_bench.models.networks import projection_widths

LIBRARIES = ("pythae", "zuko", "normflows")
INSTALL = "pip install -c constraints.txt '.[bench]'"
NLL_BATCHES = 1000
"""Samples that pythae's `get_nll` decodes at a time: the fastest for it, its default of 100 takes 1.3 times as long."""


class MissingPeer(VdaeBenchError):
    """A library to compare with is not there."""

    exit_code = 2


def versions() -> dict[str, str | None]:
    """The installed version of each library, None where there is none."""

    def installed(library: str) -> str | None:
        try:
            return version(library)
        except PackageNotFoundError:
            return None

    return {library: installed(library) for library in LIBRARIES}


def require(library: str) -> Any:
    """Import a library to compare with.

    Raises:
        MissingPeer: it cannot be imported.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise MissingPeer(f"{library} cannot be imported ({error})") from error


def require_same_size(name: str, peer: nn.Module, setting: Setting, subject: Timed) -> None:
    """Raise unless both have as many parameters: a comparison of different networks would say nothing."""
    theirs = sum(parameter.numel() for parameter in peer.parameters())
    mine = subject.parameters(setting)
    if theirs != mine:
        raise VdaeBenchError(
            f"{name} has {theirs} parameters and our model has {mine}, so they are different architectures"
        )


def plain_lvdae(build: type[PlainLVDAE], setting: Setting, subject: Timed) -> Contestant:
    """Forward and backward of L-VDAE in plain PyTorch."""
    torch.manual_seed(0)
    sizes = setting.sizes
    model = build(setting.data_dim, subject.latents, sizes.hidden, sizes.blocks).to(setting.context.device)
    require_same_size(build.__name__, model, setting, subject)
    x, w = setting.batch(subject.view), setting.noise("posterior", setting.data_dim)
    first = max(1, len(x) // 4)
    return Contestant(
        lambda: model.gradients(x, w),
        warm_up=lambda: model.gradients(x[:first], w[:first]),
        warm_up_share=first / len(x),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pythae, which says on the console what it is about to do."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def pythae_vae(setting: Setting, subject: Timed) -> nn.Module:
    """pythae's VAE with our ResNets, sigmoid and log-variance head."""
    with _quiet():
        require("pythae")
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
    torch.manual_seed(0)
    widths = projection_widths(setting.data_dim, subject.latents)
    sizes = setting.sizes

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            *trunk, self.mean = resnet(widths, sizes.hidden, sizes.blocks)
            self.trunk = nn.Sequential(*trunk)
            self.log_variance = nn.Linear(widths[-2], widths[-1])

        def forward(self, x: Tensor) -> Any:
            h = self.trunk(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = resnet(widths[::-1], sizes.hidden, sizes.blocks)

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    config = VAEConfig(input_dim=(setting.data_dim,), latent_dim=subject.latents, reconstruction_loss="bce")
    model: nn.Module = VAE(config, Encoder(), Decoder())
    require_same_size("pythae's VAE", model, setting, subject)
    return model


def pythae_epoch(setting: Setting, subject: Timed) -> Contestant:
    """An epoch of pythae's own trainer and data loader, without its progress bar.

    Its data set is binarised once, beforehand, where ours is anew in every batch.
    """
    model = pythae_vae(setting, subject)
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import CallbackHandler, TrainingCallback

    on_processor = setting.context.device.type == "cpu"
    pixels = setting.data.images.train[: setting.sizes.train_images]
    x = torch.bernoulli(pixels / 255)
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, per_device_train_batch_size=setting.sizes.batch, learning_rate=1e-3, no_cuda=on_processor
        )
        trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(len(x))), training_config=config)
        trainer.prepare_training()
    trainer.callback_handler = CallbackHandler([TrainingCallback()], model=model)

    def one_batch() -> None:
        inputs = trainer._set_inputs_to_device(next(iter(trainer.train_loader)))
        trainer._optimizers_step(model(inputs))

    return Contestant(lambda: trainer.train_step(1), warm_up=one_batch, warm_up_share=1 / len(trainer.train_loader))


def pythae_nll(setting: Setting, subject: Timed) -> Contestant:
    """pythae's `get_nll`, an image after the other as it does, without the graph that it would keep."""
    model: Any = pythae_vae(setting, subject).to(setting.context.device).eval()
    images = setting.sizes.peer_nll_images
    x = torch.bernoulli(setting.data.images.test[:images] / 255).to(setting.context.device)
    samples = setting.sizes.samples

    @torch.no_grad()
    def work() -> None:
        model.get_nll(x, n_samples=samples, batch_size=min(samples, NLL_BATCHES))

    return Contestant(work, units=images)


Flow = tuple[nn.Module, Callable[[Tensor], Tensor]]
"""A flow and its loss, -log p(x) in nats, a mean over images."""


def zuko_nice(setting: Setting, subject: Timed) -> Flow:
    """NICE of zuko's parts, even and odd pixels in turn as ours."""
    zuko = require("zuko")
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.lazy import UnconditionalDistribution, UnconditionalTransform
    from zuko.transforms import AdditiveTransform, DependentTransform, MonotonicAffineTransform

    class Logistic(torch.distributions.Distribution):
        arg_constraints: dict[str, Any] = {}  # noqa: RUF012
        support = torch.distributions.constraints.real_vector

        def __init__(self, dims: int) -> None:
            super().__init__(event_shape=torch.Size([dims]), validate_args=False)

        def log_prob(self, value: Tensor) -> Tensor:
            return _logistic(value)

    torch.manual_seed(0)
    sizes, n = setting.sizes, setting.data_dim
    couplings = [
        GeneralCouplingTransform(
            n,
            mask=torch.arange(n) % 2 == k % 2,
            univariate=AdditiveTransform,
            shapes=((),),
            hidden_features=[sizes.coupling_hidden] * sizes.coupling_layers,
        )
        for k in range(sizes.couplings)
    ]
    shift = torch.zeros(())
    scaling = UnconditionalTransform(
        lambda scale: DependentTransform(MonotonicAffineTransform(shift, scale), 1), torch.zeros(n)
    )
    model = zuko.lazy.Flow([*couplings, scaling], UnconditionalDistribution(Logistic, n))
    require_same_size("zuko's NICE", model, setting, subject)
    return model, lambda x: -model().log_prob(x).mean()


def normflows_nice(setting: Setting, subject: Timed) -> Flow:
    """NICE of normflows' parts; its halves are the first and the last pixels, which spares it the gathering."""
    nf = require("normflows")

    class Logistic(nf.distributions.BaseDistribution):  # type: ignore[misc, name-defined]
        def log_prob(self, z: Tensor) -> Tensor:
            return _logistic(z)

    torch.manual_seed(0)
    sizes, n = setting.sizes, setting.data_dim
    widths = [n // 2] + [sizes.coupling_hidden] * sizes.coupling_layers + [n // 2]
    flows = [nf.flows.AffineConstFlow((n,), shift=False)]  # from latents to data
    for k in reversed(range(sizes.couplings)):
        network = nf.nets.MLP(widths, init_zeros=True)
        mode = "channel_inv" if k % 2 else "channel"
        flows.append(nf.flows.AffineCouplingBlock(network, scale=False, split_mode=mode))
    model = nf.NormalizingFlow(Logistic(), flows)
    require_same_size("normflows' NICE", model, setting, subject)
    return model, model.forward_kld


def normflows_glow(setting: Setting, subject: Timed) -> Flow:
    """normflows' multi-scale Glow with our scales, steps and networks; its actnorm starts from the first batch."""
    nf = require("normflows")

    class Logistic(nf.distributions.BaseDistribution):  # type: ignore[misc, name-defined]
        def log_prob(self, z: Tensor) -> Tensor:
            return _logistic(z.flatten(1))

    torch.manual_seed(0)
    hyper, (rows, columns) = subject.job(setting).hyperparameters, setting.data.images.shape
    scales, steps, hidden = (hyper[f"flow_{name}"] for name in ("scales", "steps", "channels"))
    levels = []
    for scale in reversed(range(scales)):  # from latents to data
        blocks = [nf.flows.GlowBlock(4 * 2**scale, hidden, scale_map="exp") for _ in range(steps)]
        levels.append([*blocks, nf.flows.Squeeze()])
    merges = [nf.flows.Merge() for _ in range(scales - 1)]
    flow = nf.MultiscaleFlow([Logistic() for _ in levels], levels, merges, class_cond=False)
    return flow, lambda x: flow.forward_kld(x.view(-1, 1, rows, columns))


def _logistic(z: Tensor) -> Tensor:
    """log density of the standard logistic prior, which neither library has in this form."""
    return -(z + 2 * F.softplus(-z)).sum(-1)


def flow_update(library: Callable[[Setting, Timed], Flow], fused: bool, setting: Setting, subject: Timed) -> Contestant:
    """Forward, backward and Adam with our L2 on weight matrices; Adam fused as ours, or as torch has it by default."""
    model, loss = library(setting, subject)
    model.to(setting.context.device)
    x = setting.batch(subject.view)
    kinds: dict[bool, list[Tensor]] = {True: [], False: []}  # whether it is a matrix
    for parameter in model.parameters():
        kinds[parameter.dim() == 2 and min(parameter.shape) > 1].append(parameter)
    groups: list[dict[str, Any]] = [{"params": kinds[True], "weight_decay": 0.02}, {"params": kinds[False]}]
    optimiser = torch.optim.Adam(groups, lr=1e-3, fused=fused or None)

    def work() -> None:
        optimiser.zero_grad()
        loss(x).backward()
        optimiser.step()

    return Contestant(work)
