"""Mutation testing of the mathematics: each way to get the paper wrong must fail at least one test.

`python tests/mutants.py` applies each mutant to a copy of the package, runs the tests of the mathematics there and
prints which one caught it; it exits with 1 when one survives. `--only WORD` takes the mutants with WORD in their name.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("vdae_bench", "tests", "sweeps", "pyproject.toml")
TESTS = (
    "tests/models",
    "tests/mathematics",
    "tests/data/test_noise.py",
    "tests/training",
    "tests/data/test_images.py",
    "tests/report/test_report_numbers.py",
    "tests/running/test_runner.py",
    "tests/evaluation",
    "tests/report/test_samples_section.py",
)
"""In the order in which they run, after those nearest to a mutant."""
MINUTES = 60
"""After which a mutant is given up, without a verdict."""


class Mutant(NamedTuple):
    """One error: `old`, which occurs exactly once in the module, becomes `new`; the tests in `nearest` run first."""

    name: str
    module: str
    nearest: list[str]
    old: str
    new: str

    def apply(self, root: Path) -> str:
        """The module's text below `root` with the error in it."""
        text = (root / "vdae_bench" / self.module).read_text()
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: {self.module} has the old text {count} times")
        return text.replace(self.old, self.new)


ERRORS = '''
=== models/posteriors.py tests/mathematics/test_cross_checks.py tests/models/test_flow_encoders.py
drop sigma from the sample of L-VDAE in evaluation
-scale = self.log_sigma.exp()[..., None] * factor
+scale = factor
drop sigma from the sample of L-VDAE in training
-PosteriorSample(mean + sigma * deviation,
+PosteriorSample(mean + deviation,
drop sigma from the sample of L-VDAE on a flow
-self.log_sigma.exp()[..., None] * pushed
+pushed
drop sigma from the noise of VDAE
-x[:, :, None] + self.log_sigma.exp()[..., None] * w
+x[:, :, None] + w
drop m log sigma from log q
-log_volume = self.noise_dim * self.log_sigma + 0.5 *
+log_volume = 0.5 *
drop m log sigma from the KL, as eq. (8) does
- - m * self.log_sigma[:, 0, 0]
+
drop n log sigma from log q on a flow
- - self.noise_dim * self.log_sigma - log_det
+ - log_det
drop the log-determinant from log q on a flow
-self.log_sigma - log_det
+self.log_sigma
turn the sign of the log-determinant in log q
-self.log_sigma - log_det
+self.log_sigma + log_det
transpose J in the sample of L-VDAE on a flow
-log_det, w @ columns)
+log_det, w @ columns.mT)
take J at the noisy x
-self.flow.push_forward(x, w))
+self.flow.push_forward(x + self.log_sigma.exp() * w[:, :, 0], w))
add the noise to f(x) instead of x
-return z.unflatten(1, w.shape[1:3]), self.log_q
+return self.flow(x)[:, :, None] + self.log_sigma.exp()[..., None] * w, self.log_q
take VDAE's determinant at x
-z, log_det = self.flow.forward_and_log_det(noisy.flatten(1, 2))
+z = self.flow(noisy.flatten(1, 2))
+            log_det = self.flow.forward_and_log_det(x[:, :, None].expand_as(w).flatten(1, 2))[1]
transpose the Cholesky factor in evaluation
-eta @ scale.mT
+eta @ scale
transpose the Cholesky factor in training
-(factor @ noise
+(factor.mT @ noise
transpose the Cholesky factor in the projected sample
-solve_triangular(factor.mT, eta[..., None], upper=True)
+solve_triangular(factor, eta[..., None], upper=False)
take half of log det C twice
-self.log_sigma + 0.5 * log_det_gram
+self.log_sigma + 0.25 * log_det_gram
drop log det C from the KL
- - log_det.mean(1)
+
weigh tr C by sigma
-sigma.square()[:, 0, 0] * trace
+sigma[:, 0, 0] * trace
drop the 1/2 of L-VDAE's KL
-kl = 0.5 * (mean.square()
+kl = (mean.square()
drop m from the KL
-variance_terms - m)
+variance_terms)
take the first image's C for the whole batch
-images = batch if
+images = 1 if
drop the 1/2 of the VAE's KL
-kl = 0.5 * (log_variance.exp()
+kl = (log_variance.exp()
take the VAE's log-variance for log s in evaluation
-= torch.exp(0.5 * log_variance), 0.5
+= torch.exp(log_variance), 0.5
take the VAE's log-variance for log s in training
-mean + torch.exp(0.5 * log_variance) * noise
+mean + torch.exp(log_variance) * noise
drop log s from the VAE's log q
-, 0.5 * log_variance.sum(-1)
+, 0.0 * log_variance.sum(-1)
forget the prior in the sampled KL
-(log_q - prior.log_prob(z)).mean((1, 2))
+log_q.mean((1, 2))

=== models/posteriors.py tests/models/test_conditioned.py tests/mathematics/test_known_marginals.py
drop the couplings from the log q of a conditioned flow
-log_q - log_det.expand(-1, rows.shape[1]).view_as(log_q)
+log_q
turn the sign of a conditioned flow's log-determinant
-log_q - log_det.expand
+log_q + log_det.expand
give all images the first one's context
-rows = context[:, :, None]
+rows = context[:, :1, None].expand(-1, w.shape[1], -1, -1)

=== models/log_det.py tests/mathematics/test_cross_checks.py
forget the 2 of log det C
-return 2 * factor
+return factor

=== models/log_det.py tests/mathematics/test_estimators.py
keep what is there already in the basis of Lanczos
-following - (following @ basis.mT) @ basis
+following
take the trace of log T for what the probe sees of it
-identity[:, :1], upper=False)[..., 0]
+identity, upper=False).diagonal(dim1=-2, dim2=-1)
forget the scale in the logarithm by Lanczos
-value: Tensor = scale.log() + (
+value: Tensor = (

=== models/posteriors.py tests/mathematics/test_estimators.py
forget the length of the probe in log det C
-self.noise_dim * log_quadrature(rows)
+log_quadrature(rows)
forget the length of the probe in tr C
-self.noise_dim * rows[:, :, 0].square()
+rows[:, :, 0].square()
take probes in validation
-self.log_det == "lanczos" and training
+self.log_det == "lanczos"
give all images the first one's probe
-noise[:, :images, self.data_dim :] < 0
+noise[:, :1, self.data_dim :].expand(-1, images, -1) < 0

=== models/flows/base.py tests/mathematics/test_jacobians.py tests/models/test_flows.py
drop the scaling layer's log-determinant
-return self.log_scale.sum(-1)
+return 0 * self.log_scale.sum(-1)
scale by s in the inverse too
-return z * torch.exp(-self.log_scale)
+return z * torch.exp(self.log_scale)
start a flow at variance 1, not at a logistic's
-torch.log(torch.pi**2 / (3 * variance))
+torch.log(1 / variance)
drop the scaling of standardised data from the log-determinant
-log_det + self.scaling.log_det()
+log_det
give the tangents of a flow in the wrong order
-pushed.unflatten(1, (x.shape[1], rows))
+pushed.unflatten(1, (rows, x.shape[1])).transpose(1, 2)

=== models/flows/couplings.py tests/mathematics/test_jacobians.py tests/models/test_flows.py
leave the scales of affine couplings out of the log-determinant
-moving * log_scale.exp() + shift
-                log_det = log_det + log_scale.sum(-1)
+moving * log_scale.exp() + shift
invert an affine coupling in the wrong order
-(moved - shift) * torch.exp(-log_scale)
+moved * torch.exp(-log_scale) - shift
forget the slope of the bounded scale in J
-moving * scale * (1 - (log_scale / self.bound).square())
+moving * scale
forget what moves a scale in J
-moving * scale + slope * raw + shift
+moving * scale + shift
leave the context out of the couplings
-torch.cat((half, context), -1)
+torch.cat((half, 0 * context), -1)
swap even and odd
-    return [rows[..., 0::2].contiguous(), rows[..., 1::2].contiguous()]
-
-
-def interleave(halves: list[Tensor]) -> Float[Tensor, "*rows n"]:
-    """Put even and odd dimensions back in their order; even ones may be one more."""
-    even, odd = halves
+    return [rows[..., 1::2].contiguous(), rows[..., 0::2].contiguous()]
+
+
+def interleave(halves: list[Tensor]) -> Float[Tensor, "*rows n"]:
+    odd, even = halves
invert the couplings in forward order
-in reversed(list(enumerate(self.couplings))):
+in enumerate(self.couplings):
drop the scaling from J
-return push_scaling(interleave(parts))
+return interleave(parts)

=== models/flows/images.py tests/models/test_flows.py tests/mathematics/test_flow_oracles.py
leave the couplings of images out of the log-determinant
-log_det + log_scale.sum((2, 3, 4)) + pixels * mixing.log_det()
+log_det + pixels * mixing.log_det()
count a mixing's log-determinant once an image
-+ pixels * mixing.log_det()
++ mixing.log_det()
leave the split out of the log-determinant
-shift, log_det + log_scale.sum((2, 3, 4))
+shift, log_det
invert the split in the wrong order
-out = (out - shift) * torch.exp(-log_scale)
+out = out * torch.exp(-log_scale) - shift
invert the steps of a scale in forward order
-in reversed(list(zip(self.mixings, self.couplings, strict=True))):
+in list(zip(self.mixings, self.couplings, strict=True)):
leave the channels where the permutations put them
-order.mT if back else order
+torch.eye(x.shape[2], dtype=x.dtype).expand_as(order)
let L and U share the diagonal
-identity + self.triangles.tril(-1)
+identity + self.triangles.tril()
squeeze columns before rows
-permute(0, 1, 2, 4, 6, 3, 5)
+permute(0, 1, 2, 6, 4, 3, 5)
move RealNVP's channels by halves alone
-first = diagonal if step < (steps + 1) // 2 else list
+first = list
forget the 2 of He's weights of a convolution
-(2.0 / weight[0].numel())
+(1.0 / weight[0].numel())

=== models/flows/residual.py tests/models/test_flows.py tests/mathematics/test_flow_oracles.py
turn the sign of the residual series
-(-1) ** k / k
+(-1) ** (k + 1) / k
forget the 1 / k of the residual series
-(-1) ** k / k
+(-1) ** k
forget the slopes of the second layer in the determinant
- * second[:, :, None, :]
+
forget the slopes of an ELU
-before.clamp(max=0).exp()
+torch.ones_like(before)
leave the norms of residual weights alone
-(self.norm / spectral_bound(layer.weight)).clamp(max=1.0)
+1.0
allow each layer the constant of all three
-lipschitz ** (1 / 3)
+lipschitz
take the root of one squaring too many
-2 ** (SQUARINGS + 1)
+2 ** (SQUARINGS + 2)
invert residual blocks in forward order
-in reversed(self.blocks)
+in self.blocks

=== models/flows/continuous.py tests/models/test_flows.py tests/mathematics/test_flow_oracles.py
weigh all Runge-Kutta stages alike
-step / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
+step / 4 * (d1 + d2 + d3 + d4)
take Euler's steps
-x = x + step / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
+x = x + step * v1
transpose the form of the divergence
-(third @ first).mT
+(third @ first)
leave the gates out of the divergence
-(layer.weight * gate for layer
+(layer.weight for layer
hold the time of a step
-time = begin + index * step
+time = begin

=== models/space.py tests/models/test_space.py
turn the sign of the logits' volume
-- (log_p + log_q).sum(-1)
++ (log_p + log_q).sum(-1)
forget the volume of 1 - 2 alpha
-x.shape[-1] * math.log1p(-2 * self.alpha)
+0
forget the volume in training
-terms.reconstruction - self.space.log_det(x).mean(1)
+terms.reconstruction
forget the volume in evaluation
-log_weights(noise) + volume[:, :, None]
+log_weights(noise)
forget alpha on the way back
-(torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)
+torch.sigmoid(y)

=== models/layers.py tests/models/test_layers.py tests/mathematics/test_jacobians.py
drop the identity from a residual block's J
-lambda g: g + pull(g)
+lambda g: pull(g)
drop the ReLUs' gates from J
-cotangents.dense() * gate[:, :images]
+cotangents.dense()
draw He's weights with variance 1 / inputs
-(2.0 / self.weight.shape[1]) ** 0.5
+(1.0 / self.weight.shape[1]) ** 0.5
draw the last layer of a residual
-for layer in self.hidden:
-            (layer.he_normal_
+for layer in [*self.hidden, self.out]:
+            (layer.he_normal_

=== models/networks.py vdae_bench/models/networks.py tests/models/test_layers.py
forget the orthonormal start
-projection.orthonormal_(generators)
+projection.he_normal_(generators)
narrow the projections
-for factor in (8, 4, 2)]
+for factor in (4, 2, 1)]

=== models/methods/resnet_pair.py tests/models/test_layers.py tests/models/test_space.py
never mirror the decoder
-decoder.mirror_projections_(encoder)
+pass
put a sigmoid on a decoder of logits
-decoder_output == "linear" or problem.options.get("space") == "logit"
+decoder_output == "linear"
give the ResNets a logistic prior
-decoder_output), StandardNormal())
+decoder_output), StandardLogistic())

=== models/priors.py tests/mathematics/test_cross_checks.py
turn the softplus sign of the logistic prior
-F.softplus(-z)
+F.softplus(z)
count the normal prior's log 2 pi once
-z.shape[-1] * LOG_2PI
+LOG_2PI
forget the 1/2 of the normal prior
-return -0.5 * (z
+return -1.0 * (z

=== models/methods/flow_encoder.py tests/mathematics/test_cross_checks.py
give the flows a normal prior
-tied), StandardLogistic())
+tied), StandardNormal())
put a sigmoid on the coupled decoder
-in self.options else "linear"
+in self.options else "sigmoid"

=== models/likelihoods.py tests/mathematics/test_cross_checks.py tests/models/test_data_start.py
average the Bernoulli over pixels
-F.softplus(output)).sum(-1)
+F.softplus(output)).mean(-1)
turn the sign in the Bernoulli
-(x[:, :, None] * output - F.softplus(output))
+(x[:, :, None] * output - F.softplus(-output))
average the Gaussian over pixels
-(x[:, :, None] - self.mean(output)).square().sum(-1)
+(x[:, :, None] - self.mean(output)).square().mean(-1)
take log lambda for a log standard deviation
-squares * torch.exp(-log_lambda)
+squares * torch.exp(-2 * log_lambda)
count log lambda once an image
-x.shape[-1] * (LOG_2PI + log_lambda)
+x.shape[-1] * LOG_2PI + log_lambda
tie lambda to sigma instead of sigma^2
-2 * self.tied()
+self.tied()
forget the final sigmoid
-return output.sigmoid() if self.output == "sigmoid" else output
+return output
start lambda at a standard deviation
-self.log_lambda.copy_(variance.log())
+self.log_lambda.copy_(variance.log() / 2)

=== models/methods/vdae_coupled.py tests/mathematics/test_cross_checks.py
give the coupled decoder weights of its own
-InverseFlow(flow))
+InverseFlow(self.encoder(problem)))

=== models/model.py tests/mathematics/test_cross_checks.py tests/mathematics/test_training.py
reconstruct x + eps instead of x
-        return self.likelihood.log_prob(x, output)
+        if hasattr(self.posterior, "flow"):
+            rows = z.flatten(1, 2)
+            noisy = self.posterior.flow.inverse(rows)
+            return self.likelihood.log_prob(noisy, output.flatten(1, 2)[:, :, None])[..., 0].unflatten(1, z.shape[1:3])
+        return self.likelihood.log_prob(x, output)
evaluate at beta < 1
-+ self.prior.log_prob(z) - log_q
++ 0.9 * (self.prior.log_prob(z) - log_q)
drop the prior from the log weight
-self.log_likelihood(x, z) + self.prior.log_prob(z) - log_q
+self.log_likelihood(x, z) - log_q
turn the sign of the flow's log-determinant
-return self.prior.log_prob(z) + log_det
+return self.prior.log_prob(z) - log_det
drop the flow's log-determinant
-return self.prior.log_prob(z) + log_det
+return self.prior.log_prob(z)
train an i-ResNet without its log-determinant
--(self.prior.log_prob(z) + log_det).mean(1)
+-self.prior.log_prob(z).mean(1)
validate by an estimate of the log-determinant
-if not (self.training_noise_dim and torch.is_grad_enabled())
+if not self.training_noise_dim
put L2 on biases
-if self.l2 and name.endswith("weight")
+if self.l2 and name.endswith(("weight", "bias"))
put L2 on s
-if self.l2 and name.endswith("weight")
+if self.l2 and name.endswith(("weight", "log_scale"))
leave NICE's s out of the scalars
-"log_lambda", "log_scale"
+"log_lambda"

=== models/methods/independent_pixels.py tests/mathematics/test_cross_checks.py tests/mathematics/test_units.py
take a deviation for a logistic's scale in the baseline
-torch.log(3 * statistics.variance / torch.pi**2)
+torch.log(statistics.variance)

=== data/views.py tests/data/test_images.py
dequantise by 255
-.mul_(1 / 256)
+.mul_(1 / 255)
dequantise without noise
-pixels.to(uniform.dtype).add_(uniform)
+pixels.to(uniform.dtype)
binarise the negative
-.gt_(0)
+.lt_(0)
binarise at a threshold
-.sub_(uniform, alpha=255)
+.sub_(127.5)
test on the training set
-"test": images.test}
+"test": images.train}
validate on the training set
-"validation": images.validation
+"validation": images.train
swap validation and test
-"validation": images.validation, "test": images.test
+"validation": images.test, "test": images.validation
take one noise for validation and test
-f"{split}-data"
+"data"
forget the dequantisation noise in the statistics
-(variance + 1 / 12)
+variance
forget the binarisation noise in the statistics
-probability * (1 - probability)
+variance / 255**2

=== data/views.py tests/evaluation/test_evaluation.py tests/models/test_space.py
take a logit's mean over the ends of its level
-(nodes + 1) / 2
+(nodes + 1)
take the head of the test set
-* total // min(count, total)
+

=== data/images.py tests/data/test_images.py
train on the validation images too
-train=rest[:first_validation]
+train=rest

=== data/noise.py tests/data/test_noise.py
reuse one posterior draw for all replicas
-part.normal_(generator=self._at(seed,
+part.normal_(generator=self._at(self.seeds[0],
reuse one data draw for all replicas
-part.uniform_(generator=self._at(seed,
+part.uniform_(generator=self._at(self.seeds[0],
shuffle all replicas alike
-generator=self._at(seed, stream, step), device
+generator=self._at(self.seeds[0], stream, step), device
reuse one draw for all images
-self._at(seed, f"{stream}/{image}", block)
+self._at(seed, stream, block)
reuse one block of samples
-generator=self._at(seed, f"{stream}/{image}", block)
+generator=self._at(seed, f"{stream}/{image}", 0)
start all replicas alike
-stream_seed(seed, "initialise", 0)
+stream_seed(0, "initialise", 0)

=== training/trainer.py tests/training/test_trainer.py tests/mathematics/test_training.py
never apply the floor
-value.clamp_(min=SCALAR_FLOOR)
+pass
replace seeds by their index
-self.noise = NoiseSource(seeds,
+self.noise = NoiseSource(range(len(seeds)),
reuse the posterior's noise at each step
-self.noise.normal_("posterior", self.step,
+self.noise.normal_("posterior", 0,
reuse the data's noise at each step
-self.noise.uniform_("data", self.step,
+self.noise.uniform_("data", 0,
shuffle once
-permutations("shuffle", epoch,
+permutations("shuffle", 0,
draw new noise at each validation
-self.noise.normal_("validation", 0,
+self.noise.normal_("validation", self.step,
forget the warm-up of beta
-kl_weight(self.step, self.steps), out
+1.0, out
weigh the reconstruction by beta
-weight * (terms.reconstruction + self._beta * terms.divergence)
+weight * (self._beta * terms.reconstruction + terms.divergence)
show the training curve at beta
-weight * terms.neg_elbo.detach()
+weight * (terms.reconstruction + self._beta * terms.divergence).detach()
validate at beta
-total += terms.neg_elbo
+total += (terms.reconstruction + kl_weight(self.step, self.steps) * terms.divergence)
validate C on the same images in every epoch
-begin = -epoch * round(log_det_rows * images / rows)
+begin = 0
leave images out of the last validation point
-if epoch == self.settings.epochs:
+if epoch > self.settings.epochs:
search on the test set
-data.held_out("validation", dtype)
+data.held_out("test", dtype)
drop the short last batch
-return -(-len(self.data.train) // self.settings.batch_size)
+return len(self.data.train) // self.settings.batch_size
weigh micro-batches alike
-weight = x_part.shape[1] / images
+weight = 1.0
average over batches, not images
-self._epoch_sum += neg_elbo * images
+self._epoch_sum += neg_elbo * self.settings.batch_size
leave the scalars' rate to the default
-optimisers, settings.scalar_rate)
+optimisers, 1.0)
start from data whatever the protocol says
-if settings.initialisation == "data":
+if True:

=== evaluation/likelihood.py tests/mathematics/test_cross_checks.py tests/evaluation/test_evaluation.py
replace seeds by their index in evaluation
-NoiseSource(seeds, x.device)
+NoiseSource(range(len(seeds)), x.device)
forget -log K
-(math.log(samples) - log_sum)
+(-log_sum)
average log weights for the NLL
-sums = log_w.sum(2), log_w.logsumexp(2)
+sums = log_w.sum(2), log_w.mean(2) + math.log(count)
take the NLL over images instead of samples
-sums = log_w.sum(2), log_w.logsumexp(2)
+sums = log_w.sum(2), log_w.logsumexp(1, keepdim=True).mean(2).expand(-1, len(images))
count only the last block of samples
-log_sum = torch.logaddexp(log_sum, sums[1])
+log_sum = sums[1]
take the level from the NLL's images
-"nll_nats": (scored.mean() - gap.mean())
+"nll_nats": (neg_elbo[nll_images].mean() - gap.mean())

=== training/schedules.py tests/training/test_schedules.py
warm beta up over 1%
-step / (KL_WARM_UP * steps)
+step / (RATE_WARM_UP * steps)
forget the warm-up of the rate
-if step < warm_up:
+if step < 0:
end the linear schedule one step late
-last = steps - 1
+last = steps

=== training/trainer.py tests/models/test_regularisers.py
forget the weight of the KL
-torch.mul(self._kl_weight,
+torch.mul(self._kl_weight**0,

=== models/likelihoods.py tests/evaluation/test_sampling.py
draw pixels with lambda for a deviation
-torch.exp(0.5 * self.log_variance()) * eta
+torch.exp(self.log_variance()) * eta
draw pixels that are on as off
-torch.special.ndtr(eta) < output.sigmoid()
+torch.special.ndtr(eta) > output.sigmoid()

=== training/adam.py tests/training/test_adam.py tests/mathematics/test_training.py
ignore the scalars' rate
-(scalar_rate if name in scalars else 1.0)
+1.0
halve the L2
-weight_decay=2 * l2,
+weight_decay=l2,
give all replicas one beta2
-beta2=own.adam_beta2
+beta2=self.settings[0].adam_beta2

=== data/units.py tests/mathematics/test_units.py
forget the 8 bits
-+ LEVEL_BITS
+
turn the sign of bits/dim
-return nats /
+return -nats /
take bits/dim in nats
-(dims * math.log(2))
+dims

=== running/group.py tests/running/test_runner.py tests/mathematics/test_units.py
record the NLL as -ELBO
-bits["neg_elbo"] if has_elbo
+bits["nll"] if has_elbo

=== report/numbers/statistics.py tests/report/test_report_numbers.py
divide by n in the deviation over seeds
-statistics.stdev(present)
+statistics.pstdev(present)
report the best seed
-mean=statistics.fmean(present)
+mean=min(present)

=== report/numbers/columns.py tests/report/test_report_numbers.py
turn the difference from the paper
-at.summary.mean - at.printed.value
+at.printed.value - at.summary.mean

=== report/sections/samples/evidence.py tests/report/test_samples_section.py
show the samples of the worst seed
-return min(cell.completed
+return max(cell.completed

=== evaluation/quality.py tests/evaluation/test_quality.py
take the square root of the covariances' product once
-- 2 * product
+- product
divide by n in the covariance of features
-(total - 1)
+total
leave the means out of the Frechet distance
-distance = (a.mean - b.mean).square().sum() + a
+distance = a
take the bootstrap's variance for its deviation
-np.std(resampled
+np.var(resampled

=== evaluation/pictures.py tests/evaluation/test_sampling.py
count what is left of the noise as activity
-second = first if model.posterior.mean_is_exact else
+second = first if True else
average the diagonal of C with the rest
-off_diagonal = absolute.sum((1, 2)) - absolute.diagonal(dim1=1, dim2=2).sum(1)
+off_diagonal = absolute.sum((1, 2))

=== models/priors.py tests/evaluation/test_sampling.py
sample a normal prior in place of the logistic
-return logistic_from_normal(eta)
+return eta

=== search/trials.py tests/search/test_trials.py
take a trial's best epoch for its value
-value=curve[-1][1] if
+value=min(value for _, value in curve) if

=== running/group.py tests/running/test_runner.py
record the validation of the best epoch
-neg_elbo_nats=curve[-1], best_epoch
+neg_elbo_nats=min(finite), best_epoch

=== training/trainer.py tests/training/test_trainer.py
validate on the head of the images held out
-images = evenly_spaced(len(held_out), settings.validation_images)
+images = torch.arange(min(len(held_out), settings.validation_images))
skip a step after a stop
-self.step = state["step"]
+self.step = state["step"] + 1

=== evaluation/likelihood.py tests/evaluation/test_evaluation.py
leave the noise of -ELBO out of the NLL's error
-math.hypot(own["nll_standard_error_nats"], level)
+own["nll_standard_error_nats"]
count the samples of a half as those of a quarter
-whole + math.log(PARTS / len(half_sums))
+whole

=== report/numbers/statistics.py tests/report/test_story.py
pair the story's seeds by rank
-[(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
+[(first[one], second[other]) for one, other in zip(sorted(first), sorted(second), strict=False)]

=== report/numbers/pairs.py tests/report/test_pairs.py
show the scores of all seeds beside a difference of some
-zip(*in_common(*(each.by_seed(score, unit) for each in cells)), strict=True)
+(each.by_seed(score, unit).values() for each in cells)
forget that pairs share the level
-self.estimate.interval(1 - (1 - LEVEL) / max(1, self.family))
+self.estimate.interval(LEVEL)
call a method better whatever its records leave in doubt
-"; ".join([found, *self.doubts])
+found

=== report/numbers/verdict.py tests/report/test_verdicts.py
pair the claims' seeds by rank
-each.by_seed[seed] for each in summands) for seed in seeds]
+sorted(each.by_seed.items())[place][1] for each in summands) for place in range(len(seeds))]
compare cells whatever they have in common
-why_unequal(cells, alike) or why_not_comparable(cells, score, distance, true_nll)
+why_not_comparable(cells, score, distance, true_nll)
turn the paper's order
-sorted((row, other), key=lambda each: float(
+sorted((row, other), key=lambda each: -float(

=== report/numbers/comparable.py tests/report/test_verdicts.py
judge flatness by the flattest cell alone
-open_ = max(_left_open_by_curve(each)
+open_ = min(_left_open_by_curve(each)
leave the bias out of the NLL's gate
- + statistics.fmean(map(nll_bias, cell.completed))
+
decide on an NLL with few effective samples
-fewest.effective_samples > FEW_SAMPLES:
+fewest.effective_samples > 0:
count length in epochs alone
-if protocol.epochs >= PAPER_EPOCHS and protocol.epochs * steps >= PAPER_EPOCHS * papers:
+if protocol.epochs >= PAPER_EPOCHS:
pass over diverged seeds
-if each.diverged:
+if not each.completed:
pass over seeds that are left out of a cell
-for reason, count in Counter(other.reason for other in each.left_out).items():
+for reason, count in ():
compare plug-ins of different bytes
-if len({run.record.provenance.get("plugin_sha256") for run in members}) > 1:
+if not members:

=== report/numbers/runs.py tests/report/test_verdicts.py
take effective samples as their mean over images
-return min(test.effective_sample_size, 1 / of_all)
+return test.effective_sample_size

=== report/numbers/claims.py tests/report/test_verdicts.py
look at the samples of the lowest cells alone
-known.samples[cell] for cell in every]
+known.samples[cell] for cell in chosen]
show a claim's strongest parts on whichever side they are
-return [part for both in itertools.zip_longest(one, other) for part in both if part]
+return measured

=== report/compare.py tests/report/test_results_verbs.py
compare each score as if it were alone
-self.change.interval(1 - (1 - LEVEL) / self.scores)
+self.change.interval()

=== paper/claims.py tests/report/test_verdicts.py
take claim 12's slope over three doublings
-weights = (-0.3, -0.1, 0.1, 0.3)
+weights = (-0.9, -0.3, 0.3, 0.9)
halve claim 8's fall
-bound=-2 * QUICK_FALL
+bound=-QUICK_FALL
turn claim 5 round
-            Cell(dataset, "vdae-resnet", 784),
-            Cell(dataset, "lvdae-nice", 784),
+            Cell(dataset, "lvdae-nice", 784),
+            Cell(dataset, "vdae-resnet", 784),
'''
"""A module and the tests nearest to it; then the name of each error, `-` before the old text, `+` before the new."""


def parse(errors: str) -> Iterator[Mutant]:
    """The mutants that `ERRORS` describes."""
    pattern = re.compile(r"^(?P<name>\w.*)\n(?P<old>(?:-.*\n)+)(?P<new>(?:\+.*\n)+)", re.MULTILINE)
    for section in errors.split("=== ")[1:]:
        header, _, body = section.partition("\n")
        module, *nearest = header.split()
        if rest := pattern.sub("", body).strip():
            raise ValueError(f"not an error: {rest}")
        for found in pattern.finditer(body):
            old, new = ("\n".join(line[1:] for line in found[side].splitlines()) for side in ("old", "new"))
            yield Mutant(found["name"], module, nearest, old, new)


MUTANTS = list(parse(ERRORS))

LAUNCH = """
import pathlib, sys, pytest, vdae_bench
package = pathlib.Path(vdae_bench.__file__).resolve()
assert package.is_relative_to(pathlib.Path.cwd().resolve()), f"not the copy: {package}"
sys.exit(pytest.main(sys.argv[1:]))
"""


def snapshot(folder: Path) -> None:
    """Copy what the tests need; what changes in the meantime changes no verdict."""
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)


def files(root: Path, nearest: Sequence[str]) -> list[str]:
    """The test files below `root`, the nearest first."""
    places = [root / name for name in TESTS]
    found = [file for place in places for file in ([place] if place.is_file() else sorted(place.glob("test_*.py")))]
    names = [file.relative_to(root).as_posix() for file in found]
    return [*nearest, *(name for name in names if name not in nearest)]


def start(folder: Path, tests: Sequence[str], *options: str) -> subprocess.Popen[bytes]:
    """Run tests on the copy in `folder`; everything that they write stays there."""
    (folder / "tmp").mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(folder / "tmp"),
        "XDG_CACHE_HOME": str(folder / "tmp"),
    }
    words = ["-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", "-o", "addopts=--doctest-modules", *options, *tests]
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *words],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip


def failures(output: str) -> list[str]:
    """Ids of the tests that failed, by pytest's summary; a file that cannot be imported is none."""
    return re.findall(r"^(?:FAILED|ERROR) (\S+\.py::.+?)(?: - .*)?$", output, re.MULTILINE)


def run(mutants: Sequence[Mutant], jobs: int, source: Path) -> Iterator[tuple[Mutant, int | None, str, float]]:
    """Each mutant with pytest's exit code (None: out of time), its output and the seconds, as they end."""
    waiting, running = list(enumerate(mutants)), {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, mutant = waiting.pop(0)
                place = source.with_name(str(number))
                shutil.copytree(source, place)
                (place / "vdae_bench" / mutant.module).write_text(mutant.apply(source))
                running[place] = mutant, time.monotonic(), start(place, files(source, mutant.nearest), "-x")
            time.sleep(0.05)
            for place, (mutant, began, process) in list(running.items()):
                seconds = time.monotonic() - began
                if process.poll() is None and seconds > 60 * MINUTES:
                    process.kill()
                elif process.poll() is None:
                    continue
                code = process.wait()
                del running[place]
                yield mutant, None if code < 0 else code, (place / "output").read_text(), seconds
                shutil.rmtree(place)
    finally:
        for _, _, process in running.values():
            process.kill()
            process.wait()


def unbroken(source: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Pytest's exit code and output for tests on the copy without any mutant."""
    process = start(source, tests)
    try:
        return process.wait(), (source / "output").read_text()
    finally:
        process.kill()


def main() -> int:
    """Run the mutants; 0 when all are caught by tests that pass without them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="WORD", default="", help="mutants with WORD in their name or module")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at a time (default: 2)")
    words = parser.parse_args()
    mutants = [each for each in MUTANTS if words.only in each.name or words.only in each.module]
    if not mutants:
        parser.error(f"no mutant has {words.only!r} in its name or module")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    caught: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        source = Path(folder) / "source"
        snapshot(source)
        for mutant, code, output, seconds in run(mutants, words.jobs, source):
            failed = failures(output)
            if code == 1 and failed:
                caught[mutant.name] = failed[0]
                verdict = f"caught by {failed[0]}"
            else:
                verdict = "SURVIVED" if code == 0 else f"NO VERDICT ({code})\n{output[-1500:]}"
            print(f"{mutant.name} [{mutant.module}]: {verdict} ({seconds:.0f} s)", flush=True)
        code, output = unbroken(source, sorted(set(caught.values()))) if caught else (0, "")
    if code:
        print(f"Some of these tests fail without a mutant too, and catch nothing:\n{output[-1500:]}")
    left = [mutant.name for mutant in mutants if caught.get(mutant.name, "") in ("", *failures(output))]
    print(f"{len(mutants) - len(left)} of {len(mutants)} mutants caught in {time.monotonic() - began:.0f} s")
    return int(bool(left or code))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
