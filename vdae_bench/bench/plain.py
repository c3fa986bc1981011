"""L-VDAE in plain PyTorch, all of J in every step: the paper's way (section 3.1), and `vmap(jacrev)`."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vdae_bench.models.networks import projection_widths


class Block(nn.Module):
    """`y = x + ReLU(ReLU(x W_1) W_2) W_3`, Appendix C."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus its residual."""
        residual: Tensor = self.residual(x)
        return x + residual


def resnet(widths: list[int], hidden: int, blocks: int) -> nn.Sequential:
    """The ResNet of Appendix D; a projection is the last layer, and orthogonal at the start."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [Block(inputs, hidden) for _ in range(blocks)]
        projection = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(projection.weight)
        layers.append(projection)
    return nn.Sequential(*layers)


class PlainLVDAE(nn.Module):
    """q(z|x) = N(f(x), sigma^2 J J^T) with J of every image; how J and log det C are found is left to subclasses."""

    part_rows: ClassVar[int]
    """Rows of J that are worked on at a time, which keeps the step within a few GiB and costs no time (measured)."""

    def __init__(self, data_dim: int, latents: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.latents = latents
        widths = projection_widths(data_dim, latents)
        self.encoder = resnet(widths, hidden, blocks)
        self.decoder = resnet(widths[::-1], hidden, blocks)
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def value_and_jacobian(self, x: Float[Tensor, "N n"]) -> tuple[Float[Tensor, "N m"], Float[Tensor, "N m n"]]:
        """Mean f(x) and Jacobian J of each image."""
        raise NotImplementedError

    def log_det(self, gram: Float[Tensor, "N m m"]) -> Float[Tensor, " N"]:
        """log det C of each image, C = J J^T."""
        raise NotImplementedError

    def loss(self, x: Float[Tensor, "N n"], w: Float[Tensor, "N n"]) -> Tensor:
        """-ELBO in nats, a mean over images: KL in closed form, sample f(x) + sigma J w, binary pixels from logits."""
        mean, jacobian = self.value_and_jacobian(x)
        gram = jacobian @ jacobian.mT
        trace = gram.diagonal(dim1=1, dim2=2).sum(1)
        sigma, m = self.log_sigma.exp(), mean.shape[1]
        kl = 0.5 * (sigma**2 * trace + mean.square().sum(1) - m - self.log_det(gram)) - m * self.log_sigma
        z = mean + sigma * (jacobian @ w[..., None])[..., 0]
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(1)
        return (reconstruction + kl).mean()

    def gradients(self, x: Float[Tensor, "N n"], w: Float[Tensor, "N n"]) -> None:
        """Forward and backward, part after part."""
        self.zero_grad(set_to_none=True)
        part = max(1, self.part_rows // self.latents)
        for x_part, w_part in zip(x.split(part), w.split(part), strict=True):
            (self.loss(x_part, w_part) * (len(x_part) / len(x))).backward()


class PapersWay(PlainLVDAE):
    """m reverse passes through the encoder, then the eigenvalues of C (section 3.1)."""

    part_rows = 32_000

    def value_and_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and J, row by row with `autograd.grad`."""
        x = x.detach().requires_grad_()
        mean = self.encoder(x)
        rows = [torch.autograd.grad(mean[:, i].sum(), x, create_graph=True)[0] for i in range(mean.shape[1])]
        return mean, torch.stack(rows, 1)

    def log_det(self, gram: Tensor) -> Tensor:
        """log det C as sum_i log lambda_i, lambda the eigenvalues of C."""
        eigenvalues: Tensor = torch.linalg.eigvalsh(gram)
        return eigenvalues.log().sum(-1)


class VmapJacrev(PlainLVDAE):
    """All rows of J at once by `torch.func`, then Cholesky."""

    part_rows = 8_000

    def value_and_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and J by `vmap(jacrev(f))`."""

        def value_twice(image: Tensor) -> tuple[Tensor, Tensor]:
            value = self.encoder(image)
            return value, value

        jacobian, mean = torch.func.vmap(torch.func.jacrev(value_twice, has_aux=True))(x)
        return mean, jacobian

    def log_det(self, gram: Tensor) -> Tensor:
        """log det C as 2 sum_i log L_ii, L the Cholesky factor of C."""
        factor: Tensor = torch.linalg.cholesky(gram)
        return 2 * factor.diagonal(dim1=1, dim2=2).log().sum(-1)
