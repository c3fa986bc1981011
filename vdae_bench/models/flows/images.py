"""Flows on images: multi-scale affine couplings with convolutions, RealNVP and Glow, on the replica axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vdae_bench.errors import UserError
from vdae_bench.models.flows.base import FlowKind, StandardisedFlow
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.layers import Generators
from vdae_bench.models.precision import full_precision
from vdae_bench.models.problem import Problem
from vdae_bench.system.words import counted


def mix_channels(
    x: Float[Tensor, "R N C H W"], matrix: Float[Tensor, "R C C"], shift: Float[Tensor, "R C"] | None = None
) -> Float[Tensor, "R N C H W"]:
    """Multiply the channels at every pixel by a replica's matrix, in the precision of the images, and add a shift."""
    with full_precision(x.device):
        mixed = torch.stack([each @ images for each, images in zip(matrix, x.flatten(3), strict=True)]).view_as(x)
        return mixed if shift is None else mixed + shift[:, None, :, None, None]


class Convolution(nn.Module):
    """R independent convolutions that keep the size of an image; weights and biases start at zero."""

    def __init__(self, replicas: int, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(replicas, outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(replicas, outputs))

    def of_replica(self, replica: int, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D H W"]:
        """Convolve the images of one replica."""
        return F.conv2d(x, self.weight[replica], self.bias[replica], padding=self.weight.shape[-1] // 2)

    @torch.no_grad()
    def he_normal_(self, generators: Generators) -> None:
        """Draw the weights from N(0, 2 / inputs), He et al. (2015), for a layer that a ReLU follows."""
        for weight, generator in zip(self.weight, generators, strict=True):
            weight.copy_(torch.randn(weight.shape, generator=generator) * (2.0 / weight[0].numel()) ** 0.5)


class AffineParameters(nn.Module):
    r"""A convolutional network (3 x 3, 1 x 1, 3 x 3, ReLUs between) that gives s and t of an affine map of channels.

    .. math:: s = b \tanh(r / b), \qquad (r, t) = \mathrm{network}(x_\mathrm{pass})

    Its last layer starts at zero. Without hidden channels it is one 3 x 3 convolution.
    """

    convolutions: Sequence[Convolution]

    def __init__(self, replicas: int, inputs: int, outputs: int, hidden: int, bound: float) -> None:
        super().__init__()
        self.bound = bound
        widths = [inputs, hidden, hidden, 2 * outputs] if hidden else [inputs, 2 * outputs]
        kernels = (3, 1, 3) if hidden else (3,)
        self.convolutions = nn.ModuleList(  # type: ignore[assignment]
            Convolution(replicas, *sizes, kernel) for sizes, kernel in zip(pairwise(widths), kernels, strict=True)
        )

    def initialise(self, generators: Generators) -> None:
        """Draw the hidden layers."""
        for convolution in self.convolutions[:-1]:
            convolution.he_normal_(generators)

    def forward(self, passing: Float[Tensor, "R N C H W"]) -> tuple[Tensor, Tensor]:
        """Return s and t, each (R, N, D, H, W), in the precision of the images."""
        *hidden, last = self.convolutions
        outputs = []
        # A plain loop over replicas: 1.4 times as fast on a CPU as convolutions with groups. With few channels
        # the layout that has them last halves the time of a step.
        for replica, images in enumerate(passing):
            x = images.movedim(-3, -1).contiguous().movedim(-1, -3)
            for convolution in hidden:
                x = F.relu(convolution.of_replica(replica, x), inplace=True)
            outputs.append(last.of_replica(replica, x))
        raw, shift = torch.stack(outputs).to(passing.dtype).chunk(2, 2)
        return self.bound * torch.tanh(raw / self.bound), shift


class Mixing(nn.Module):
    r"""An affine map of the channels at every pixel: a permutation, and in Glow a learned 1 x 1 convolution.

    .. math:: y = M x + b, \qquad M = P L (U + \mathrm{diag}\, e^s), \qquad \log |\det| = H W \sum_c s_c

    P is a signed permutation that stays as the seed (Glow) or the order of the halves (RealNVP) has it; s and b are the
    scale and shift that stand for Glow's actnorm and RealNVP's batch normalisation; the unit lower L and the strictly
    upper U, the identity and zero at the start, are learned in Glow and stay so in RealNVP.
    """

    frame: Tensor
    """P of each replica, (R, C, C)."""

    def __init__(self, replicas: int, channels: int, learned: bool) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(replicas, channels))
        self.shift = nn.Parameter(torch.zeros(replicas, channels))
        # L below the diagonal, U above it, in one matrix.
        self.triangles = nn.Parameter(torch.zeros(replicas, channels, channels)) if learned else None
        self.register_buffer("frame", torch.eye(channels).repeat(replicas, 1, 1))

    @torch.no_grad()
    def draw_frame_(self, generators: Generators) -> None:
        """Draw each replica's permutation, and a sign of each channel."""
        for frame, generator in zip(self.frame, generators, strict=True):
            channels = len(frame)
            signs = 2.0 * torch.randint(2, (channels, 1), generator=generator) - 1
            frame.copy_(signs * torch.eye(channels)[torch.randperm(channels, generator=generator)])

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return `L` and `U + diag e^s`, (R, C, C) each."""
        upper = torch.diag_embed(self.log_gain.exp())
        identity = torch.eye(upper.shape[-1], dtype=upper.dtype, device=upper.device)
        if self.triangles is None:
            return identity.expand_as(upper), upper
        return identity + self.triangles.tril(-1), upper + self.triangles.triu(1)

    def forward(self, x: Float[Tensor, "R N C H W"]) -> Float[Tensor, "R N C H W"]:
        """Return `M x + b`."""
        with full_precision(x.device):
            lower, upper = self.factors()
            return mix_channels(x, self.frame @ lower @ upper, self.shift)

    def inverse(self, y: Float[Tensor, "R N C H W"]) -> Float[Tensor, "R N C H W"]:
        """Return `M^-1 (y - b)`."""
        with full_precision(y.device):
            lower, upper = self.factors()
            solved = torch.linalg.solve_triangular(lower, self.frame.mT, upper=False, unitriangular=True)
            inverse = torch.linalg.solve_triangular(upper, solved, upper=True)
            return mix_channels(y - self.shift[:, None, :, None, None], inverse)

    def log_det(self) -> Float[Tensor, "R 1"]:
        """Return the log-determinant at one pixel."""
        return self.log_gain.sum(-1, keepdim=True)


class Scale(nn.Module):
    """One scale of a `MultiScale` flow: steps of mixing and coupling, then the channels in their old order.

    A step of RealNVP moves one half of the channels by the other. Of the four pixels that a squeeze makes four
    channels, two on a diagonal pass first, which is its checkerboard, then in the second half of the steps the first
    two. In Glow the halves follow from the mixing.
    """

    mixings: Sequence[Mixing]
    couplings: Sequence[AffineParameters]

    def __init__(
        self, replicas: int, channels: int, steps: int, hidden: int, glow: bool, last: bool, bound: float
    ) -> None:
        super().__init__()
        self.passing, self.glow = channels // 2, glow
        self.mixings = nn.ModuleList(Mixing(replicas, channels, glow) for _ in range(steps))  # type: ignore[assignment]
        self.couplings = nn.ModuleList(  # type: ignore[assignment]
            AffineParameters(replicas, channels // 2, channels // 2, hidden, bound) for _ in range(steps)
        )
        self.split = AffineParameters(replicas, channels // 2, channels // 2, 0, bound) if glow and not last else None
        if not glow:
            self._alternate_halves()

    @torch.no_grad()
    def _alternate_halves(self) -> None:
        """Set the permutations of RealNVP."""
        channels, steps = 2 * self.passing, len(self.mixings)
        diagonal = [channel for channel in range(channels) if channel % 4 in (0, 3)]
        held = list(range(channels))
        for step, mixing in enumerate(self.mixings):
            first = diagonal if step < (steps + 1) // 2 else list(range(self.passing))
            rest = [channel for channel in range(channels) if channel not in first]
            wanted = first + rest if step % 2 == 0 else rest + first
            mixing.frame.copy_(torch.eye(channels)[[held.index(channel) for channel in wanted]])
            held = wanted

    def initialise(self, generators: Generators) -> None:
        """Draw the networks' hidden layers, and Glow's permutations."""
        for mixing, coupling in zip(self.mixings, self.couplings, strict=True):
            coupling.initialise(generators)
            if self.glow:
                mixing.draw_frame_(generators)

    def _reordered(self, x: Tensor, *, back: bool) -> Tensor:
        """Take the channels through all the permutations, or back."""
        with full_precision(x.device):
            order = self.mixings[0].frame
            for mixing in self.mixings[1:]:
                order = mixing.frame @ order
            return mix_channels(x, order.mT if back else order)

    def forward(self, x: Float[Tensor, "R N C H W"]) -> tuple[Tensor, Tensor]:
        """Return the channels after all steps, (R, N, C, H, W), and the log-determinant (R, N)."""
        pixels = x.shape[-2] * x.shape[-1]
        log_det = x.new_zeros(x.shape[:2])
        for mixing, coupling in zip(self.mixings, self.couplings, strict=True):
            passing, moving = mixing(x).split(self.passing, 2)
            log_scale, shift = coupling(passing)
            x = torch.cat((passing, moving * log_scale.exp() + shift), 2)
            log_det = log_det + log_scale.sum((2, 3, 4)) + pixels * mixing.log_det()
        return self._reordered(x, back=True), log_det

    def inverse(self, y: Float[Tensor, "R N C H W"]) -> Float[Tensor, "R N C H W"]:
        """Undo `forward`."""
        x = self._reordered(y, back=False)
        for mixing, coupling in reversed(list(zip(self.mixings, self.couplings, strict=True))):
            passing, moved = x.split(self.passing, 2)
            log_scale, shift = coupling(passing)
            x = mixing.inverse(torch.cat((passing, (moved - shift) * torch.exp(-log_scale)), 2))
        return x


class MultiScale(StandardisedFlow):
    r"""RealNVP (Dinh et al., 2016, arXiv:1605.08803) and Glow (Kingma & Dhariwal, 2018, arXiv:1807.03039).

    At each scale four neighbouring pixels become four channels; some steps mix the channels, then move one half of
    them by a convolutional network of the other,

    .. math:: y_\mathrm{move} = e^s \odot x_\mathrm{move} + t, \qquad (s, t) = \mathrm{network}(x_\mathrm{pass})

    and one half of the channels is factored out as latents, in Glow after an affine map by a convolution of the half
    that goes on (the learned prior of a split). Latents stand where their pixels are, and the flow starts as the
    identity on standardised pixels. Beside the papers: one logistic prior; a learned scale and shift of the channels
    for batch normalisation and for actnorm, without a start from the first batch; one small network for both.

    Args:
        replicas: R.
        shape: rows and columns of an image; both must be multiples of 2^scales.
        scales: how many times the image is squeezed.
        steps: steps at each scale.
        channels: hidden channels of a network.
        mix: `fixed`, RealNVP's alternating halves, or `conv1x1`, Glow's learned mixing.
        bound: b of `AffineParameters`.

    Example:
        >>> flow = MultiScale(replicas=1, shape=(4, 4), scales=2, steps=2, channels=3, mix="conv1x1")
        >>> flow.initialise([torch.Generator().manual_seed(0)])
        >>> x = torch.rand(1, 3, 16)
        >>> z, log_det = flow.forward_and_log_det(x)
        >>> torch.equal(z, x), log_det[0].tolist()
        (True, [0.0, 0.0, 0.0])
    """

    scales: Sequence[Scale]

    def __init__(
        self,
        replicas: int,
        shape: tuple[int, int],
        scales: int,
        steps: int,
        channels: int,
        mix: Literal["fixed", "conv1x1"] = "conv1x1",
        bound: float = 3.0,
    ) -> None:
        require_halves(shape, scales)
        super().__init__(replicas, shape[0] * shape[1])
        self.shape = shape
        self.activation_rows = max(1, channels // 4)  # at the first scale, a quarter of the pixels
        self.scales = nn.ModuleList(  # type: ignore[assignment]
            Scale(replicas, 4 * 2**k, steps, channels, mix == "conv1x1", k == scales - 1, bound) for k in range(scales)
        )

    def initialise(self, generators: Generators) -> None:
        """Draw the networks and, in Glow, the permutations; the flow starts as the identity."""
        for scale in self.scales:
            scale.initialise(generators)

    def core(self, y: Float[Tensor, "R N n"]) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R N"]]:
        """Map standardised images to latents, with the log-determinant of each."""
        x, factored = y.unflatten(-1, (1, *self.shape)), []
        log_det = y.new_zeros(y.shape[:2])
        for scale in self.scales:
            x, volume = scale(_squeeze(x))
            log_det = log_det + volume
            if scale is not self.scales[-1]:
                x, out = x.chunk(2, 2)
                if scale.split is not None:
                    log_scale, shift = scale.split(x)
                    out, log_det = out * log_scale.exp() + shift, log_det + log_scale.sum((2, 3, 4))
                factored.append(out)
        x = _unsqueeze(x)
        for out in reversed(factored):
            x = _unsqueeze(torch.cat((x, out), 2))
        return x.flatten(2), log_det

    def core_inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Map latents to standardised images."""
        x, factored = z.unflatten(-1, (1, *self.shape)), []
        for _ in self.scales[:-1]:
            x, out = _squeeze(x).chunk(2, 2)
            factored.append(out)
        x = _squeeze(x)
        for scale in reversed(self.scales):
            if scale is not self.scales[-1]:
                out = factored.pop()
                if scale.split is not None:
                    log_scale, shift = scale.split(x)
                    out = (out - shift) * torch.exp(-log_scale)
                x = torch.cat((x, out), 2)
            x = _unsqueeze(scale.inverse(x))
        return x.flatten(2)


def require_halves(shape: tuple[int, int], scales: int) -> None:
    """Raise `UserError` unless an image can be squeezed as often as there are scales."""
    rows, columns = shape
    sides = rows | columns
    most = (sides & -sides).bit_length() - 1  # the lowest bit of either: how often both can be halved
    if scales > most:
        # With an odd side one scale is one too many, and fewer there cannot be.
        remedy = f"use flow_scales: {most}" if most else "use a flow without squeezing, such as nice or couplings"
        raise UserError(
            f"images of {rows} x {columns} cannot be halved {counted(scales, 'time')}: "
            f"both sides must be even each time; {remedy}"
        )


def _squeeze(x: Float[Tensor, "R N C H W"]) -> Float[Tensor, "R N D h w"]:
    """Make two by two pixels four channels: channel 4 c + 2 i + j has row i and column j of channel c's squares."""
    rows, columns = x.shape[-2:]
    squares: Tensor = x.unflatten(-1, (columns // 2, 2)).unflatten(-3, (rows // 2, 2))
    return squares.permute(0, 1, 2, 4, 6, 3, 5).flatten(2, 4)


def _unsqueeze(x: Float[Tensor, "R N D h w"]) -> Float[Tensor, "R N C H W"]:
    """Undo `_squeeze`."""
    squares: Tensor = x.unflatten(2, (-1, 2, 2)).permute(0, 1, 2, 5, 3, 6, 4)
    return squares.flatten(-2).flatten(-3, -2)


SCALES = Hyperparameter("flow_scales", int, 2, ge=1, le=8, meaning="how many times RealNVP and Glow halve the image")
STEPS = Hyperparameter(
    "flow_steps", int, 4, ge=1, le=64, meaning="number of couplings of RealNVP and Glow at each scale"
)
CHANNELS = Hyperparameter(
    "flow_channels", int, 64, ge=1, le=4096, meaning="number of hidden channels of a coupling of RealNVP and Glow"
)
_SIZES = (SCALES, STEPS, CHANNELS)


def _check(shape: tuple[int, int], sizes: Mapping[str, Any]) -> None:
    require_halves(shape, SCALES.of(sizes))


def _multi_scale(problem: Problem, mix: Literal["fixed", "conv1x1"]) -> MultiScale:
    scales, steps, channels = (each.of(problem.hyperparameters) for each in _SIZES)
    return MultiScale(problem.replicas, problem.shape, scales, steps, channels, mix)


REALNVP = FlowKind(
    "RealNVP",
    lambda problem: _multi_scale(problem, "fixed"),
    _SIZES,
    reference="multi-scale couplings with convolutions; Dinh et al., 2016, arXiv:1605.08803",
    check=_check,
)
GLOW = FlowKind(
    "Glow",
    lambda problem: _multi_scale(problem, "conv1x1"),
    _SIZES,
    reference="multi-scale couplings with learned mixing; Kingma & Dhariwal, 2018, arXiv:1807.03039",
    check=_check,
)
