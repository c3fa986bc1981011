"""The models written a second time: one replica, plain matrix products, autograd's Jacobians, torch.distributions.

Nothing of the package is used but the values of the parameters, found by their names in the model's `state_dict`.
Formulas are those of the paper: z = mu + s eta; eq. (7); eqs. (4), (5); Appendices C and D.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Independent,
    MultivariateNormal,
    Normal,
    SigmoidTransform,
    TransformedDistribution,
    Uniform,
    kl_divergence,
)


def logistic() -> TransformedDistribution:
    """The standard logistic: the logit of a uniform number."""
    ends = torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    return TransformedDistribution(Uniform(*ends), [SigmoidTransform().inv])


def jacobians(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """df/dx of each row of x (N, n), by reverse mode: (N, outputs, n)."""
    return torch.func.vmap(torch.func.jacrev(f))(x)


class Reference:
    """One replica of a method's model. `x` is (N, n), noise (N, d); every density is in nats, (N,)."""

    METHODS = (
        "vae",
        "lvdae",
        "nice",
        "lvdae-nice",
        "vdae-resnet",
        "vdae-nice",
        "vdae-coupled",
        "conditioned",
        "independent-pixels",
    )

    def __init__(self, method: str, view: str, parameters: Mapping[str, Tensor], output: str | None = None) -> None:
        """`output` of the decoder in continuous data: sigmoid, but linear for `vdae-coupled`, unless given."""
        self.method, self.view, self.p = method, view, parameters
        self.output = output or ("linear" if method == "vdae-coupled" else "sigmoid")

    @classmethod
    def of(cls, method: str, view: str, model: torch.nn.Module, replica: int, output: str | None = None) -> Reference:
        """A replica of a built model; what belongs to it are the rows of its parameters."""
        if method not in cls.METHODS:
            raise NotImplementedError(f"write method {method} a second time in {__file__}, and add it to METHODS")
        return cls(method, view, {name: value[replica] for name, value in model.state_dict().items()}, output)

    # Networks

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.p[f"{name}.weight"] + self.p[f"{name}.bias"][0]

    def relu_network(self, x: Tensor, name: str) -> Tensor:
        layer = 0
        while f"{name}.hidden.{layer}.weight" in self.p:
            x = self.linear(x, f"{name}.hidden.{layer}")
            x = torch.where(x > 0, x, 0 * x)
            layer += 1
        return self.linear(x, f"{name}.out")

    def layers(self, x: Tensor, name: str, count: int) -> Tensor:
        for layer in range(count):
            if f"{name}.{layer}.weight" in self.p:
                x = self.linear(x, f"{name}.{layer}")
            else:
                x = x + self.relu_network(x, f"{name}.{layer}.residual")
        return x

    def depth(self, name: str) -> int:
        return 1 + max(int(key[len(name) + 1 :].split(".")[0]) for key in self.p if key.startswith(f"{name}."))

    def resnet(self, x: Tensor, name: str) -> Tensor:
        return self.layers(x, f"{name}.layers", self.depth(f"{name}.layers"))

    def nice(self, x: Tensor, name: str, *, inverse: bool = False) -> Tensor:
        scale = torch.exp(self.p[f"{name}.scaling.log_scale"][0])
        halves = [(x / scale if inverse else x)[..., start::2] for start in (0, 1)]
        order = list(range(self.depth(f"{name}.couplings")))
        for coupling in reversed(order) if inverse else order:
            passing, moving = coupling % 2, 1 - coupling % 2
            shift = self.relu_network(halves[passing], f"{name}.couplings.{coupling}")
            halves[moving] = halves[moving] - shift if inverse else halves[moving] + shift
        columns = [halves[index % 2][..., index // 2] for index in range(x.shape[-1])]
        y = torch.stack(columns, -1)
        return y if inverse else y * scale

    # Densities

    def sigma(self) -> Tensor:
        name = "posterior.log_sigma" if self.method == "lvdae" else "posterior.scale.log_sigma"
        return torch.exp(self.p[name].squeeze())

    def encoder(self, x: Tensor) -> Tensor:
        """f(x)."""
        return self.resnet(x, "posterior.encoder") if self.method == "lvdae" else self.nice(x, "posterior.flow")

    def diagonal(self, x: Tensor) -> Independent:
        """q(z|x) of the VAE: the two heads are parallel projections of the last block's output."""
        depth = self.depth("posterior.encoder.layers")
        trunk = self.layers(x, "posterior.encoder.layers", depth - 1)
        mean = self.linear(trunk, f"posterior.encoder.layers.{depth - 1}")
        variance = torch.exp(self.linear(trunk, "posterior.log_variance_head"))
        return Independent(Normal(mean, variance.sqrt()), 1)

    def conditioned(self, x: Tensor, noise: Tensor) -> Tensor:
        """z = f(mu + s w; c) of one image: affine couplings of even and odd latents, which see the encoder's c."""
        depth = self.depth("posterior.encoder.layers")
        trunk = self.layers(x, "posterior.encoder.layers", depth - 1)
        q, context = self.diagonal(x), self.linear(trunk, "posterior.context_head")
        halves = [(q.mean + q.stddev * noise)[..., start::2] for start in (0, 1)]
        for coupling in range(self.depth("posterior.couplings.couplings")):
            passing, moving = coupling % 2, 1 - coupling % 2
            seen = torch.cat((halves[passing], context), -1)
            raw, shift = self.relu_network(seen, f"posterior.couplings.couplings.{coupling}").chunk(2, -1)
            halves[moving] = halves[moving] * torch.exp(3 * torch.tanh(raw / 3)) + shift
        z = torch.stack([halves[index % 2][..., index // 2] for index in range(noise.shape[-1])], -1)
        return z * torch.exp(self.p["posterior.couplings.scaling.log_scale"][0])

    def linearised(self, x: Tensor) -> MultivariateNormal:
        """q(z|x) = N(f(x), sigma^2 J J^T), eq. (7)."""
        jacobian = jacobians(self.encoder, x)
        return MultivariateNormal(self.encoder(x), self.sigma() ** 2 * jacobian @ jacobian.mT)

    def posterior(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A sample z and log q(z|x); L-VDAE takes noise in R^m through the Cholesky factor, in R^n through J."""
        if self.method == "vae":
            q = self.diagonal(x)
            z = q.mean + q.stddev * noise
            return z, q.log_prob(z)
        if self.method == "conditioned":
            by_noise = torch.func.vmap(torch.func.jacrev(self.conditioned, argnums=1))(x, noise)
            density = Normal(0.0, 1.0).log_prob(noise).sum(-1)
            return self.conditioned(x, noise), density - torch.linalg.slogdet(by_noise).logabsdet
        if self.method in ("lvdae", "lvdae-nice"):
            q = self.linearised(x)
            in_data_space = noise.shape[-1] == x.shape[-1]
            scale = self.sigma() * jacobians(self.encoder, x) if in_data_space else q.scale_tril
            z = q.mean + (scale @ noise[..., None])[..., 0]
            return z, q.log_prob(z)
        noisy = x + self.sigma() * noise
        volume = torch.linalg.slogdet(jacobians(self.encoder, noisy)).logabsdet
        return self.encoder(noisy), Normal(0.0, self.sigma()).log_prob(self.sigma() * noise).sum(-1) - volume

    def prior_log_prob(self, z: Tensor) -> Tensor:
        prior = Normal(torch.zeros_like(z), 1.0) if self.method in ("vae", "lvdae", "conditioned") else logistic()
        return prior.log_prob(z).sum(-1)

    def decoder(self, z: Tensor) -> Tensor:
        if self.method in ("vae", "lvdae", "conditioned"):
            return self.resnet(z, "decoder")
        if self.method == "vdae-coupled":
            return self.nice(z, "posterior.flow", inverse=True)
        if self.method == "vdae-nice":
            return self.nice(z, "decoder.flow", inverse=True)
        return self.resnet(self.p["decoder.offset"][0] + self.p["decoder.slope"][0] * z, "decoder")

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) of the clean x."""
        output = self.decoder(z)
        if self.view == "binary":
            return Bernoulli(logits=output).log_prob(x).sum(-1)
        tied = "likelihood.log_lambda" not in self.p
        variance = self.sigma() ** 2 if tied else torch.exp(self.p["likelihood.log_lambda"].squeeze())
        mean = torch.sigmoid(output) if self.output == "sigmoid" else output
        return Normal(mean, variance.sqrt()).log_prob(x).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log p(x), where the model has one: `nice` by the change of variables, eq. (3)."""
        if self.method == "nice":
            volume = torch.linalg.slogdet(jacobians(lambda rows: self.nice(rows, "flow"), x)).logabsdet
            return logistic().log_prob(self.nice(x, "flow")).sum(-1) + volume
        location, log_scale = self.p["location"][0], self.p["log_scale"][0]
        if self.view == "binary":
            return Bernoulli(logits=location).log_prob(x).sum(-1)
        return (logistic().log_prob((x - location) / log_scale.exp()) - log_scale).sum(-1)

    def log_weight(self, x: Tensor, noise: Tensor) -> Tensor:
        """log w = log p(x|z) + log p(z) - log q(z|x), or log p(x)."""
        if self.method in ("nice", "independent-pixels"):
            return self.log_prob(x)
        z, log_q = self.posterior(x, noise)
        return self.log_likelihood(x, z) + self.prior_log_prob(z) - log_q

    def bound(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and divergence of -ELBO, (N,) each: closed KL for `vae` and `lvdae`, sampled elsewhere."""
        if self.method in ("nice", "independent-pixels"):
            return -self.log_prob(x), torch.zeros(len(x), dtype=x.dtype)
        z, log_q = self.posterior(x, noise)
        divergence = log_q - self.prior_log_prob(z)
        if self.method == "vae":
            divergence = kl_divergence(self.diagonal(x), Independent(Normal(torch.zeros_like(z), 1.0), 1))
        if self.method == "lvdae":
            identity = torch.eye(z.shape[-1], dtype=z.dtype)
            divergence = kl_divergence(self.linearised(x), MultivariateNormal(torch.zeros_like(z), identity))
        return -self.log_likelihood(x, z), divergence
