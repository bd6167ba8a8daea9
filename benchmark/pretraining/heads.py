"""One backbone with one head per source; all heads are slices of one linear layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...baselines.weights.archs import feature_width
from ...baselines.weights.prepare import InputPreparation
from ..training.loop import ValidationResult, autocast_precision, seed_torch
from ..training.metrics import Predictions, primary_value
from ..training.model import PartlyFrozen, eval_batch, freeze_tensors, to_probabilities
from ..training.subsets import one_hot
from .sources import ImageLoader, SourcePool, _Rows, pool_starts


class PretrainModel(PartlyFrozen):
    """A backbone, an optional projection, all sources' heads, and an embedding; only the backbone is kept.

    Information that the objective does not need is then lost in the projection or in the layer before the
    embedding, not in the backbone (Chen et al. 2020, arXiv 2002.05709; Bordes et al. 2022, arXiv 2206.13378).

    Args:
        backbone: maps [batch, 3, side, side] to [batch, features].
        outputs: number of logits of all heads; 0 has no heads.
        projection: width of the projection before the heads; 0 has none.
        embedding: width of the embedding; 0 has none.
        freeze_norm: keep the statistics of the backbone's batch norm, and normalize by them in training too.
    """

    def __init__(
        self,
        backbone: nn.Module,
        outputs: int,
        projection: int,
        seed: int,
        embedding: int = 0,
        freeze_norm: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        means = [name for name in backbone.state_dict() if name.endswith(".running_mean")]
        self.frozen_modules = freeze_tensors(backbone, means if freeze_norm else ())
        width = feature_width(backbone)
        with seed_torch("cpu", seed):
            self.projection = _hidden_layer(width, projection if outputs else 0)
            self.head = nn.Linear(projection or width, outputs) if outputs else None
            self.embedding = (
                nn.Sequential(_hidden_layer(width, width), nn.Linear(width, embedding)) if embedding else None
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, then the embedding, [batch, outputs + embedding]."""
        features = self.backbone(images)
        found = []
        if self.head is not None:
            found.append(self.head(self.projection(features)))
        if self.embedding is not None:
            found.append(self.embedding(features))
        return torch.cat(found, dim=1)


def _hidden_layer(width: int, hidden: int) -> nn.Sequential:
    """Return a layer with batch norm and ReLU; empty for a hidden width of 0."""
    if not hidden:
        return nn.Sequential()
    return nn.Sequential(nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU())


class SourceHeads:
    """Outputs, targets and losses of the heads of all sources."""

    def __init__(self, pools: Sequence[SourcePool], device: str, smoothing: float = 0.0) -> None:
        self.pools, self.starts, self.smoothing = pools, pool_starts(pools), smoothing
        ends = np.cumsum([0, *(len(pool.classes) for pool in pools)]).tolist()
        self.outputs = int(ends[-1])
        self.slices = [slice(low, high) for low, high in pairwise(ends)]
        allowed = torch.zeros(len(pools), self.outputs)
        for place, part in enumerate(self.slices):
            allowed[place, part] = 1
        self.allowed = allowed.to(device)
        self.multilabel = torch.tensor([pool.kind == "multilabel" for pool in pools], device=device)

    def targets(self, rows: _Rows, whose: _Rows) -> Tensor:
        """Return the targets of all outputs, float32 [rows, outputs + 1]; last column `whose`."""
        truth = np.zeros((len(rows), self.outputs + 1), np.float32)
        for place in np.unique(whose).tolist():
            mine, pool = np.flatnonzero(whose == place), self.pools[place]
            if not pool.classes:
                continue
            labels = pool.labels[rows[mine] - self.starts[place]]
            truth[mine, self.slices[place]] = one_hot(labels, len(pool.classes))
        truth[:, -1] = whose
        return torch.from_numpy(truth)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return each image's cross-entropy, or mean BCE of a multi-label head, [batch]; 0 without labels.

        `logits` are float32 [batch, outputs], `targets` as `targets` returns them, on the device.
        """
        truth, whose = targets[:, :-1], targets[:, -1].long()
        allowed = self.allowed[whose]
        widths = allowed.sum(dim=1).clamp(min=1)
        log_p = logits.masked_fill(allowed == 0, -1e4).log_softmax(dim=1)
        even = allowed / widths[:, None]
        single = -(log_p * torch.lerp(truth, even, self.smoothing)).sum(dim=1)
        bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return torch.where(self.multilabel[whose], (bce * allowed).sum(dim=1) / widths, single)


@dataclass(frozen=True)
class HeldOutScore:
    """Loss and score on the held-out images of one source; the score is None where undefined."""

    loss: float
    score: float | None


def score_source(
    network: nn.Module, heads: SourceHeads, images: ImageLoader, prepare: InputPreparation, place: int
) -> HeldOutScore | None:
    """Score a network in eval mode on labeled held-out images of source number `place`, if any."""
    pool = heads.pools[place]
    if not len(pool.held_out) or not pool.classes:
        return None
    rows = heads.starts[place] + pool.held_out
    logits = torch.cat(list(_logits(network, images, prepare, rows)))[:, heads.slices[place]]
    p = to_probabilities(logits, pool.kind)
    truth = one_hot(pool.labels[pool.held_out], len(pool.classes))
    loss = float(-np.log(np.clip(np.where(truth, p, 1 - p), 1e-7, 1)).mean())
    return HeldOutScore(loss, primary_value(Predictions(pool.kind, truth, p)))


@torch.inference_mode()
def _logits(
    network: nn.Module, images: ImageLoader, prepare: InputPreparation, rows: _Rows
) -> Iterator[Tensor]:
    size = eval_batch(next(network.parameters()).device, prepare.side)
    chunks = (rows[at : at + size] for at in range(0, len(rows), size))
    for batch in images.batches(chunks):
        with autocast_precision(batch.device):
            logits = network(prepare(batch))
        yield logits.float()


def mean_score(results: Sequence[HeldOutScore | None]) -> ValidationResult:
    """Return the mean over the sources that could be scored."""
    losses = [found.loss for found in results if found]
    scores = [found.score for found in results if found and found.score is not None]
    loss = float(np.mean(losses)) if losses else 0.0
    return ValidationResult(loss, float(np.mean(scores)) if scores else None)


def as_scores(names: Sequence[str], results: Sequence[HeldOutScore | None]) -> dict[str, float | None]:
    """Return the scores by the names of the sources."""
    return {name: found.score if found else None for name, found in zip(names, results, strict=True)}
