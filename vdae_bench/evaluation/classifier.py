"""The classifier in whose features samples are judged: a small convolutional network, trained here once and kept.

It sees half of each batch dequantised and half binarised, with fresh noise, so that one network serves both views. Its
weights lie in the user's cache under a digest of the data and of all settings; the same settings on the same machine
and threads give the same weights.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from vdae_bench.data.images import Images, Labels
from vdae_bench.data.noise import stream_seed
from vdae_bench.data.views import binarise, dequantise
from vdae_bench.errors import EnvironmentFault, UserError
from vdae_bench.system.paths import cache_folder
from vdae_bench.system.strict_json import digest
from vdae_bench.system.tensor_file import load_if_fitting, read_tensors, write_tensors
from vdae_bench.system.untrusted import Unfit
from vdae_bench.training.checkpoint import Checkpoint
from vdae_bench.training.trainer import Interrupted

SECONDS_BETWEEN_TRIES = 1.0
IMAGES_AT_A_TIME = 500
"""Images that are classified at a time."""


@dataclass(frozen=True)
class ClassifierSettings:
    """Settings that determine the weights, beside the data; raise `version` when the code below changes them."""

    channels: tuple[int, int] = (16, 32)
    features: int = 64
    dropout: float = 0.2
    shift: int = 1
    """Pixels by which each batch may be moved, up or down and left or right."""
    epochs: int = 14
    batch_size: int = 125
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    seed: int = 0
    version: int = 1


class Outputs(NamedTuple):
    """The classifier's answers for N images: features, and logarithms of the class probabilities."""

    features: Float[Tensor, "N F"]
    log_probabilities: Float[Tensor, "N C"]


class Classifier(nn.Module):
    """A small network for grey images: two convolutions of stride 2, a layer of features, a linear layer of logits."""

    def __init__(self, shape: tuple[int, int], classes: int, settings: ClassifierSettings) -> None:
        super().__init__()
        first, second = settings.channels
        rows, columns = (-(-size // 4) for size in shape)
        self.shape = shape
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, first, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(first, second, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(second * rows * columns, settings.features),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.logits = nn.Linear(settings.features, classes)

    def features(self, x: Float[Tensor, "N n"]) -> Float[Tensor, "N F"]:
        """Return the last layer before the logits, of images in [0, 1]."""
        images = x.view(-1, 1, *self.shape).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.convolutions(images)
        return features

    def forward(self, x: Float[Tensor, "N n"]) -> Float[Tensor, "N C"]:
        """Return the logits of the classes."""
        logits: Tensor = self.logits(self.dropout(self.features(x)))
        return logits

    @torch.no_grad()
    def classify(self, x: Float[Tensor, "N n"]) -> Outputs:
        """Return features and log probabilities, on the CPU."""
        parts = []
        for chunk in x.split(IMAGES_AT_A_TIME):
            features = self.features(chunk)
            parts.append((features.cpu(), self.logits(features).log_softmax(-1).cpu()))
        return Outputs(*(torch.cat(column) for column in zip(*parts, strict=True)))

    @functools.cached_property
    def identity(self) -> str:
        """Digest of the weights: numbers measured with different ones are not to be compared."""
        weights = b"".join(tensor.cpu().numpy().tobytes() for tensor in self.state_dict().values())
        return hashlib.sha256(weights).hexdigest()[:12]


def trained_classifier(
    images: Images,
    labels: Labels,
    settings: ClassifierSettings,
    device: torch.device,
    report: Callable[[float], None] = lambda fraction: None,
) -> Classifier:
    """The classifier of a data set, from the user's cache or trained and put there; `report(fraction)` as it trains.

    Where `report` raises `Interrupted`, and after a kill, the next call goes on with its training.
    """
    identity = digest([asdict(settings), images.name, images.sha256])
    path = None
    with suppress(UserError):  # without a cache, as without a place in it
        path = cache_folder() / "classifiers" / f"{images.name}-{identity[:16]}.pt"
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.seed)
        classifier = Classifier(images.shape, int(labels.train.max()) + 1, settings).to(device)
        classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if path is None:
            _train(classifier, images.train.to(device), labels.train.to(device), settings, report, None)
        elif not _load(classifier, path, identity):
            with _alone(path, report):
                if not _load(classifier, path, identity):  # another process may have trained it while this one waited
                    checkpoint = Checkpoint(path.with_suffix(".training.pt"), identity)
                    _train(classifier, images.train.to(device), labels.train.to(device), settings, report, checkpoint)
                    with suppress(EnvironmentFault):  # without a place to keep it, the next process trains it again
                        write_tensors(path, {"identity": identity, "state": classifier.state_dict()})
                        checkpoint.remove()
    return classifier.eval().requires_grad_(False)


@contextmanager
def _alone(path: Path, report: Callable[[float], None]) -> Iterator[None]:
    """Let one process train while others wait and `report` nothing done; the lock of one that is killed is free."""
    from filelock import FileLock, Timeout

    lock = FileLock(path.parent.with_name(f".{path.stem}.lock"))
    with suppress(OSError, NotImplementedError):  # without a place for it, each trains its own
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=SECONDS_BETWEEN_TRIES)
            except Timeout:
                report(0.0)
    try:
        yield
    finally:
        lock.release()


def _load(classifier: Classifier, path: Path, identity: str) -> bool:
    """Take the kept weights, if they are these, to the bit: a changed one would move all numbers measured with it."""
    try:
        kept = read_tensors(path)
    except (OSError, Unfit):
        return False
    return kept.get("identity") == identity and load_if_fitting(classifier, kept.get("state"))


def _train(
    classifier: Classifier,
    pixels: UInt8[Tensor, "N n"],
    labels: Int[Tensor, " N"],
    settings: ClassifierSettings,
    report: Callable[[float], None],
    checkpoint: Checkpoint | None,
) -> None:
    """Train by AdamW under a one-cycle schedule (Smith & Topin, 2018, arXiv:1708.07120), on the cross-entropy."""
    size = min(settings.batch_size, len(pixels))
    steps = settings.epochs * (len(pixels) // size)
    optimiser = torch.optim.AdamW(
        classifier.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=steps)
    generator = torch.Generator(pixels.device).manual_seed(stream_seed(settings.seed, "classifier", 0))
    shifts = torch.randint(
        -settings.shift, settings.shift + 1, (steps, 2), generator=generator, device=pixels.device
    ).cpu()
    classifier.train()
    begun, order = 0, torch.empty(0)
    parts: dict[str, Any] = {"model": classifier, "optimiser": optimiser, "schedule": schedule}

    def save() -> None:
        if checkpoint is None:
            return
        state = {name: part.state_dict() for name, part in parts.items()}
        noise = {"generator": generator.get_state(), "dropout": _dropout_state(pixels.device)}
        checkpoint.save({**state, **noise, "step": step + 1, "order": order})

    state = None
    with suppress(EnvironmentFault):  # what cannot be read now costs a minute, and no number changes
        state = checkpoint.load() if checkpoint else None
    with checkpoint.restoring() if checkpoint else nullcontext():
        if state:
            for name, part in parts.items():
                part.load_state_dict(state[name])
            generator.set_state(state["generator"])
            _set_dropout_state(pixels.device, state["dropout"])
            begun, order = state["step"], state["order"].to(pixels.device)
    batches = len(pixels) // size
    for step in range(begun, steps):
        at = step % batches
        if at == 0:
            order = torch.randperm(len(pixels), generator=generator, device=pixels.device)
        batch = order[at * size : (at + 1) * size]
        uniform = torch.rand((size, pixels.shape[1]), generator=generator, device=pixels.device)
        half = size // 2
        x = torch.cat(
            (dequantise(pixels[batch[:half]], uniform[:half]), binarise(pixels[batch[half:]], uniform[half:]))
        )
        moved = x.view(-1, *classifier.shape).roll(shifts[step].tolist(), (1, 2)).flatten(1)
        loss = F.cross_entropy(classifier(moved), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        try:
            report((step + 1) / steps)
        except Interrupted:
            save()
            raise
        if checkpoint and checkpoint.due:
            with suppress(EnvironmentFault):  # as with the trained one
                save()


def _dropout_state(device: torch.device) -> Tensor:
    """State of the generator that dropout draws from."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_dropout_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
