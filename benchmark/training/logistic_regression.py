"""L2-regularized logistic regression for many penalties and labels at once, on any device.

All columns (one per penalty and label, or per penalty and class) share two matrix products per round of
L-BFGS. Each has a line search of its own and leaves when it has converged. The variables are coordinates in
the eigenvectors of the features' covariance, in which the Hessian is close to a known diagonal: some 10 to 80
rounds suffice, for weak penalties too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDS = 400
"""Most rounds: evaluations of loss and gradient. A column that has not converged by then stays as it is."""
LOSS_GAP = 2e-8
"""A column has converged when its objective is at most this far above the minimum."""
MEMORY = 10
"""Pairs of steps and gradient differences that L-BFGS remembers."""
ARMIJO = 1e-4
"""Share of the fall expected from the slope that a step must reach."""
ROUNDING = 1e-7
"""Relative rise of a loss that counts as rounding."""
RANK_TOLERANCE = 1e-12
"""Smallest eigenvalue of a Gram matrix, relative to the largest, that counts as a dimension."""
CONSTANT = 1e-6
"""Standard deviation, relative to the mean, below which a feature is a constant with rounding."""
CPU_CHUNK, GPU_CHUNK = 1024, 65536
"""Images per matrix product, so that a CPU's cache holds what is made of them."""
CPU_CHECK, GPU_CHECK = 1, 5
"""Rounds between two looks at what has converged, for which a GPU must be waited for."""


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """Fitted models of P penalties and K outputs.

    Attributes:
        weights: float32 [P, K, features].
        intercepts: float32 [P, K].
        gaps: upper bounds of objective minus minimum, float64 [P, K] (sigmoids) or [P, 1] (softmax).
        rounds: evaluations of loss and gradient.
    """

    weights: Tensor
    intercepts: Tensor
    gaps: Tensor
    rounds: int

    def logits(self, features: Tensor) -> Tensor:
        """Return logits [P, n, K] of float32 features [n, features]."""
        return features @ self.weights.transpose(1, 2) + self.intercepts[:, None]


def standardize(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Return all parts with the mean and the standard deviation (0 counts as 1) of `train`, [n, features]."""
    wide = wide_type(train)
    mean = train.mean(0, dtype=wide)
    squares = torch.zeros_like(mean)
    for chunk in train.split(chunk_size(train)):  # float64 of all features would fill the memory
        squares += (chunk.to(wide) - mean).square().sum(0)
    scale = (squares / len(train)).sqrt()
    scale = torch.where(scale <= CONSTANT * mean.abs(), 1.0, scale)
    return tuple((part - mean.to(part.dtype)).div_(scale.to(part.dtype)) for part in (train, *others))


def fit_logistic(
    features: Tensor,
    targets: Tensor,
    penalties: Sequence[float],
    softmax: bool,
    gap: float = LOSS_GAP,
    rounds: int = ROUNDS,
) -> LogisticFit:
    """Minimize mean log loss + penalty / 2 * |weights|^2 for every penalty; intercepts are not penalized.

    Args:
        features: float32 [n, features], best standardized.
        targets: [n, K] of 0 and 1, none of them constant; with `softmax` one 1 per row.
        penalties: per image, above 0; scikit-learn's C is 1 / (penalty n).
        softmax: one model of K classes per penalty, instead of a sigmoid per penalty and column.
        gap: largest distance of an objective from its minimum, by an upper bound.
        rounds: most rounds.
    """
    basis = _find_basis(features)
    problem = _pose_problem(basis, targets, penalties, softmax)
    solution, gaps, used = _minimize(problem, gap, rounds)
    shape = len(penalties), targets.shape[1]
    weights = basis.to_weights(solution[..., :-1]).reshape(*shape, features.shape[1])
    intercepts = solution[..., -1].reshape(shape)
    return LogisticFit(
        weights.to(features.dtype), intercepts.to(features.dtype), gaps.reshape(len(penalties), -1), used
    )


@dataclass(frozen=True, eq=False)
class FeatureBasis:
    """Orthogonal coordinates of the features.

    Attributes:
        design: [n, r], what the logits are computed from.
        rotation: [r, r] eigenvectors in columns, if `design` is not in the new coordinates yet.
        variances: [r] mean squares of the coordinates, float64.
        outward: [features, r], from coordinates to weights.
    """

    design: Tensor
    rotation: Tensor | None
    variances: Tensor
    outward: Tensor

    def to_weights(self, coordinates: Tensor) -> Tensor:
        """Return weights [..., features] of coordinates [..., r]."""
        return coordinates.to(self.outward.dtype) @ self.outward.T


def _find_basis(features: Tensor) -> FeatureBasis:
    """Take the eigenvectors of the covariance, or of the Gram matrix if that is smaller."""
    n, width = features.shape
    if n >= width:
        values, vectors = _eigenvectors(features.T @ features / n)
        return FeatureBasis(features, vectors, values.clamp(min=0).to(wide_type(features)), vectors)
    precise = features.to(wide_type(features))
    values, vectors = torch.linalg.eigh(precise @ precise.T)
    kept = values > RANK_TOLERANCE * values[-1].clamp(min=1e-30)
    values, vectors = values[kept], vectors[:, kept]
    roots = values.sqrt()
    outward = precise.T @ (vectors / roots)
    return FeatureBasis((vectors * roots).to(features.dtype), None, values / n, outward)


def _eigenvectors(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues and eigenvectors; float32 may not converge where many features are constant."""
    try:
        return torch.linalg.eigh(covariance)
    except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
        values, vectors = torch.linalg.eigh(covariance.cpu().double())
        return values.to(covariance), vectors.to(covariance)


@dataclass(frozen=True, eq=False)
class LogisticProblem:
    """G independent groups of k outputs each, whose losses share the features.

    Attributes:
        basis: with r coordinates.
        targets: uint8 [G, 1, n] of sigmoids; [1, k, n] of softmax, the same for every group.
        penalties: [G].
        spread: [G, k], p (1 - p) of the shares of the outputs.
    """

    basis: FeatureBasis
    targets: Tensor
    penalties: Tensor
    spread: Tensor
    softmax: bool

    def keep(self, groups: Tensor) -> LogisticProblem:
        """Return the problem of some groups."""
        targets = self.targets if self.softmax else self.targets[groups]
        return replace(self, targets=targets, penalties=self.penalties[groups], spread=self.spread[groups])

    def evaluate(self, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return objectives [G], gradients [G, k, r + 1] and mean p (1 - p) [G, k] at `point` [G, k, r + 1].

        The last coordinate is the intercept. All are float64.
        """
        groups, outputs, _ = point.shape
        columns, (design, rotation) = point.flatten(0, 1), (self.basis.design, self.basis.rotation)
        weights, intercepts = columns[:, :-1].to(design.dtype), columns[:, -1:].to(design.dtype)
        weights = weights if rotation is None else weights @ rotation.T
        losses, gradients = torch.zeros_like(point[:, 0, 0]), torch.zeros_like(columns)
        spread = torch.zeros_like(columns[:, 0])
        size = chunk_size(design)
        for x, y in zip(design.split(size), self.targets.split(size, dim=2), strict=True):
            logits = torch.addmm(intercepts, weights, x.T).view(groups, outputs, -1)
            loss, residuals = (_softmax_loss if self.softmax else _sigmoid_loss)(logits, y)
            losses += loss
            residuals = residuals.flatten(0, 1)
            gradients[:, :-1] += residuals @ x
            gradients[:, -1] += residuals.sum(1)
            spread += residuals.abs_().sum(1) - residuals.square_().sum(1)  # |p - y| (1 - |p - y|)
        slopes, n = gradients[:, :-1], len(design)
        if rotation is not None:
            slopes = slopes.to(design.dtype) @ rotation
        gradients[:, :-1] = slopes
        gradients = gradients.view(point.shape) / n
        inner = point[..., :-1]
        gradients[..., :-1] += self.penalties[:, None, None] * inner
        objectives = losses / n + self.penalties / 2 * inner.square().sum((1, 2))
        return objectives, gradients, spread.view(groups, outputs) / n

    def bound_gap(self, gradients: Tensor) -> Tensor:
        """Return upper bounds [G] of objective minus minimum: the objective is strongly convex.

        The intercept, which has no penalty, counts by its curvature at the start.
        """
        inner = gradients[..., :-1].square().sum((1, 2)) / self.penalties
        return inner / 2 + (gradients[..., -1].square() / self.spread).sum(1) / 2


def _sigmoid_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return summed losses [G], and residuals like `logits` [G, 1, n]."""
    signs = 1 - 2 * targets.to(logits.dtype)
    wrong = logits * signs
    return F.softplus(wrong).sum((1, 2)), wrong.sigmoid_().mul_(signs)


def _softmax_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return summed losses [G], and residuals like `logits` [G, k, n]."""
    logs = logits.log_softmax(1)
    return -(logs * targets).sum((1, 2)), logs.exp_().sub_(targets)


def _pose_problem(
    basis: FeatureBasis, targets: Tensor, penalties: Sequence[float], softmax: bool
) -> LogisticProblem:
    """Arrange the groups: penalties (softmax), or penalties x labels, the labels of one penalty together."""
    wide = basis.variances.dtype
    strengths = torch.tensor(penalties, dtype=wide, device=targets.device)
    shares = targets.to(wide).mean(0)
    spread = (shares * (1 - shares)).clamp(min=1e-12)
    by_label = targets.T.to(torch.uint8).contiguous()
    count = len(penalties)
    if softmax:
        return LogisticProblem(basis, by_label[None], strengths, spread.repeat(count, 1), True)
    groups = by_label.repeat(count, 1)[:, None]
    spreads = spread.repeat(count)[:, None]
    return LogisticProblem(basis, groups, strengths.repeat_interleave(len(by_label)), spreads, False)


@dataclass(eq=False)
class SearchState:
    """State of L-BFGS for G groups; see `LogisticProblem.evaluate` for the shapes.

    Attributes:
        points, losses, gradients: of the best point so far.
        directions, slopes: of the line search, and the derivatives [G] of the objective along it.
        steps: [G] lengths that are tried next.
        spread: [G, k], mean p (1 - p) at the best point, with which the loss curves.
        moves, changes: [MEMORY, G, k, r + 1] differences of points and gradients; zeros where there is none.
        inverses: [MEMORY, G], 1 / (move . change), or 0.
    """

    points: Tensor
    losses: Tensor
    gradients: Tensor
    directions: Tensor
    slopes: Tensor
    steps: Tensor
    spread: Tensor
    moves: Tensor
    changes: Tensor
    inverses: Tensor
    rounds: int = 0

    def keep(self, groups: Tensor) -> SearchState:
        """Return the state of some groups."""
        single = ("points", "losses", "gradients", "directions", "slopes", "steps", "spread")
        stacked = ("moves", "changes", "inverses")
        kept = {name: getattr(self, name)[groups] for name in single}
        kept |= {name: getattr(self, name)[:, groups] for name in stacked}
        return SearchState(**kept, rounds=self.rounds)


def _minimize(problem: LogisticProblem, gap: float, rounds: int) -> tuple[Tensor, Tensor, int]:
    """Return the points [G, k, r + 1], the bounds of their gaps [G], and the rounds used."""
    search = _start_search(problem)
    points, gaps = search.points.clone(), problem.bound_gap(search.gradients)
    active = torch.arange(len(gaps), device=gaps.device)
    every = CPU_CHECK if gaps.device.type == "cpu" else GPU_CHECK
    while len(active) and search.rounds < rounds:
        _advance(problem, search)
        if search.rounds % every and search.rounds < rounds:
            continue
        points[active], gaps[active] = search.points, problem.bound_gap(search.gradients)
        left = (gaps[active] > gap).nonzero()[:, 0]
        if len(left) < len(active):
            active, problem, search = active[left], problem.keep(left), search.keep(left)
    return points, gaps, search.rounds


def _start_search(problem: LogisticProblem) -> SearchState:
    """Start from zero weights, and intercepts that give the shares of the outputs."""
    groups, outputs = problem.spread.shape
    width = len(problem.basis.variances) + 1
    points = problem.spread.new_zeros(groups, outputs, width)
    shares = problem.targets.to(torch.float32).mean(2).to(points.dtype).expand(groups, outputs)
    points[..., -1] = shares.log() if problem.softmax else shares.logit()
    losses, gradients, spread = problem.evaluate(points)
    memory = points.new_zeros(MEMORY, *points.shape)
    search = SearchState(
        points, losses, gradients, points, losses, losses, spread,
        memory, memory.clone(), memory.new_zeros(MEMORY, groups), 1,
    )  # fmt: skip
    _aim(problem, search, torch.ones_like(losses, dtype=torch.bool))
    return search


def _advance(problem: LogisticProblem, search: SearchState) -> None:
    """Try a step of every group; where the objective falls enough, take it and choose a new direction."""
    moves = search.steps[:, None, None] * search.directions
    losses, gradients, spread = problem.evaluate(search.points + moves)
    expected = search.steps * search.slopes
    taken = losses <= search.losses + ARMIJO * expected + ROUNDING * search.losses.abs()
    mask = taken[:, None, None]
    moves, changes = moves * mask, torch.where(mask, gradients - search.gradients, 0.0)
    products = (moves * changes).sum((1, 2))
    place = search.rounds % MEMORY
    search.moves[place], search.changes[place] = moves, changes
    search.inverses[place] = torch.where(products > 0, 1 / products, 0.0)
    # minimum of the parabola through both losses and the slope, at most half of the step
    parabola = -expected / (2 * (losses - search.losses - expected))
    shorter = search.steps * parabola.nan_to_num(0.1).clamp(0.1, 0.5)
    search.points = search.points + moves
    search.losses = torch.where(taken, losses, search.losses)
    search.gradients = torch.where(mask, gradients, search.gradients)
    search.spread = torch.where(taken[:, None], spread, search.spread)
    search.steps = torch.where(taken, 1.0, shorter)
    search.rounds += 1
    _aim(problem, search, taken)


def _aim(problem: LogisticProblem, search: SearchState, groups: Tensor) -> None:
    """Set new directions and slopes where `groups` [G] is true: L-BFGS with the Hessian's diagonal."""
    direction, weights = search.gradients, []
    newest = [(search.rounds - 1 - age) % MEMORY for age in range(min(MEMORY, search.rounds))]
    for place in newest:
        weight = search.inverses[place] * (search.moves[place] * direction).sum((1, 2))
        direction = direction - weight[:, None, None] * search.changes[place]
        weights.append(weight)
    scale = search.spread.clamp(min=1e-12)[..., None]
    diagonal = torch.cat([scale * problem.basis.variances + problem.penalties[:, None, None], scale], dim=2)
    direction = direction / diagonal
    # the diagonal is of the mean image: scale it by the curvature along the last step
    last, usable = search.changes[newest[0]], search.inverses[newest[0]]
    scaling = torch.where(usable > 0, 1 / (usable * (last.square() / diagonal).sum((1, 2))), 1.0)
    direction = direction * scaling[:, None, None]
    for place, weight in zip(reversed(newest), reversed(weights), strict=True):
        back = search.inverses[place] * (search.changes[place] * direction).sum((1, 2))
        direction = direction + (weight - back)[:, None, None] * search.moves[place]
    search.directions = torch.where(groups[:, None, None], -direction, search.directions)
    search.slopes = (search.directions * search.gradients).sum((1, 2))


def chunk_size(features: Tensor) -> int:
    """Return the number of images per matrix product."""
    return CPU_CHUNK if features.device.type == "cpu" else GPU_CHUNK


def wide_type(features: Tensor) -> torch.dtype:
    """Return the type of sums: float64, which Apple's GPUs lack."""
    return torch.float32 if features.device.type == "mps" else torch.float64


def rounds_multiply_adds(images: int, width: int, columns: int, rounds: int) -> float:
    """Return the multiply-adds of `rounds` rounds of all columns, products as narrow as there are columns.

    Args:
        images: of the training subset.
        width: number of features.
        columns: penalties x labels, or penalties x classes; one per penalty for two classes.
        rounds: mean over the columns, as each leaves when it has converged.
    """
    return 2.0 * rounds * columns * images * min(images, width)


def basis_multiply_adds(images: int, width: int) -> float:
    """Return the multiply-adds of the covariance or Gram matrix and of its eigenvectors."""
    rank = min(images, width)
    return float(images) * width * rank + 9.0 * rank**3
