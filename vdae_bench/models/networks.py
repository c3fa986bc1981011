"""The ResNets of Appendix D: residual blocks at the incoming width, then a projection, four times over."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.models.layers import Chain, Generators, Layer, Linear, ResidualBlock


def projection_widths(data_dim: int, latents: int) -> list[int]:
    """Widths of the encoder: `n -> min(8m, n) -> min(4m, n) -> min(2m, n) -> m` (Appendix D).

    >>> projection_widths(784, 32)
    [784, 256, 128, 64, 32]
    >>> projection_widths(784, 128)
    [784, 784, 512, 256, 128]
    """
    return [data_dim] + [min(factor * latents, data_dim) for factor in (8, 4, 2)] + [latents]


class ResNet(Chain):
    """The ResNet of Appendix D: at each width some residual blocks, then a projection to the next width.

    Projections that reduce the dimension start orthonormal, so that J J^T = I at the start of training; those of a
    decoder start as the transposed projections of the matching encoder (`mirror_projections_`).

    Args:
        replicas: R.
        widths: from the input's to the output's, as `projection_widths` gives them; reversed for a decoder.
        hidden: H, units of a block's two hidden layers.
        blocks: B, residual blocks at each width.

    Example:
        >>> encoder = ResNet(replicas=1, widths=[6, 4, 2], hidden=3, blocks=1)
        >>> encoder.initialise([torch.Generator().manual_seed(0)])
        >>> jacobian = encoder.linearise(torch.rand(1, 1, 6))[1](torch.eye(6).expand(1, 1, 6, 6))[0, 0].mT
        >>> torch.allclose(jacobian @ jacobian.mT, torch.eye(2), atol=1e-6)
        True
    """

    def __init__(self, replicas: int, widths: list[int], hidden: int, blocks: int) -> None:
        layers: list[Layer] = []
        for inputs, outputs in pairwise(widths):
            layers += [ResidualBlock(replicas, inputs, hidden) for _ in range(blocks)]
            layers.append(Linear(replicas, inputs, outputs))
        super().__init__(layers)

    @property
    def projections(self) -> list[Linear]:
        """The projection layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, Linear)]

    def initialise(self, generators: Generators) -> None:
        """Start residual blocks as identities, and projections that do not widen as orthonormal (Appendix C)."""
        super().initialise(generators)
        for projection in self.projections:
            if projection.weight.shape[1] >= projection.weight.shape[2]:
                projection.orthonormal_(generators)

    def mirror_projections_(self, encoder: ResNet) -> None:
        """Start each projection as the transpose of the encoder's at the same height; then they go their own way."""
        for mine, theirs in zip(self.projections, reversed(encoder.projections), strict=True):
            mine.transpose_of_(theirs)


class ResNetDecoder(Chain):
    """The ResNet decoder beside a NICE encoder: residual blocks of the data's width on `offset + slope * z`.

    Residual blocks pass their input on, but NICE's latents differ from pixels in scale. With `initialisation: data`
    the two constants rescale the latents; with `initialisation: paper` they stay 0 and 1, as in the paper.

    Example:
        >>> decoder = ResNetDecoder(replicas=1, width=2, hidden=3, blocks=1)
        >>> decoder.start_affine_(offset=torch.full((1, 1, 2), 0.5), slope=torch.full((1, 1, 2), 2.0))
        >>> decoder(torch.ones(1, 1, 2)).tolist()
        [[[2.5, 2.5]]]
    """

    offset: Tensor
    slope: Tensor

    def __init__(self, replicas: int, width: int, hidden: int, blocks: int) -> None:
        super().__init__([ResidualBlock(replicas, width, hidden) for _ in range(blocks)])
        self.register_buffer("offset", torch.zeros(replicas, 1, width))
        self.register_buffer("slope", torch.ones(replicas, 1, width))

    def start_affine_(self, offset: Float[Tensor, "R 1 n"], slope: Float[Tensor, "R 1 n"]) -> None:
        """Start as `offset + slope * z`."""
        self.offset.copy_(offset)
        self.slope.copy_(slope)

    def forward(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Apply the blocks to the rescaled latents."""
        return super().forward(torch.addcmul(self.offset, self.slope, z))
