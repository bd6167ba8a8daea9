"""Model card of a pretraining as Markdown, after Mitchell et al. 2019 (arXiv 1810.03993)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from ...baselines.weights.archs import CIFAR_STEMS
from ...baselines.weights.checkpoint import CheckpointCard
from ...core.errors import one_line
from ...core.progress import duration
from ...tasks.catalog import catalog
from ...tasks.databases.licenses import MEANING, implied_terms
from ...tasks.databases.tables import is_known
from ...tasks.task import DataLocations, Task
from ..corpus.corpus import SourceFacts
from .augmentations import make_augmentation
from .leave_out import words_of
from .objective import OBJECTIVES
from .pretrain_result import PretrainResult


@dataclass(frozen=True, eq=False)
class CardContent:
    """Input of a model card; `facts` of the corpus's sources are by name, {} without a corpus."""

    finished: PretrainResult
    facts: Mapping[str, SourceFacts]
    card: CheckpointCard
    path: Path


def model_card(of: CardContent) -> str:
    """Return the text of a model card."""
    parts = (_details, _use, _data, _training, _scores, _overlap, _license, _usage)
    return "\n\n".join(part(of) for part in parts) + "\n"


def _details(of: CardContent) -> str:
    settings, images = of.finished.settings, sum(source.images for source in of.finished.sources)
    side, tone = settings.input_size, "gray" if settings.variant == "gray" else "color"
    initial = f"the weights of {of.finished.start.label}" if of.finished.start else "random weights"
    return f"""# {settings.variant.capitalize()}-MedNet, {settings.arch}

A backbone that turns {tone} medical images of {side} x {side} pixels into features, to be fine-tuned on tasks
with few labels. It was trained {_with_labels(of)} on {images:,} images of {len(of.finished.sources)} sources,
from {initial}, by mednet-bench; the idea of a MedNet is from [arXiv 2110.06512](https://arxiv.org/abs/2110.06512).
It has no classifier: what the training added to the backbone was discarded.

* Weights: `{of.card.path}`, sha256 `{of.card.sha256}`
* Commit: {_commit(of.finished)}"""


def _with_labels(of: CardContent) -> str:
    return "with labels" if OBJECTIVES[of.finished.settings.objective].uses_labels else "without labels"


def _commit(finished: PretrainResult) -> str:
    if not finished.commit:
        return "none, an installed package"
    return f"`{finished.commit}`" + (", with changes that were not committed" if finished.dirty else "")


def _use(of: CardContent) -> str:
    return """## Intended use

* To initialize a classifier of medical images, and to compare this initialization with ImageNet's weights
  and with random ones.
* **Not for diagnosis, screening, triage or any other clinical decision**, alone or as a part: nothing here
  was tested for safety, on patients, or across hospitals, scanners and groups of people.
* Not to recognize patients, and not for images of another kind than those below."""


def _data(of: CardContent) -> str:
    rows = []
    for source in of.finished.sources:
        facts = of.facts.get(source.name)
        rows.append(
            (
                source.name,
                facts.modality if facts else "",
                f"{source.images:,} of {source.available:,}",
                f"{len(source.classes)} ({source.kind})" if source.classes else "no labels",
                (facts.license if facts else "") or "unknown",
                ", ".join(facts.parents) if facts else "",
            )
        )
    headers = ("source", "modality", "images seen", "classes", "license", "made from")
    text = f"## Training data\n\n{markdown_table(rows, headers)}"
    if of.finished.leave_out:
        names = ", ".join(of.finished.leave_out)
        dropped = ", ".join(of.finished.left_out) or "none; the corpus held no image of theirs"
        text += f"\n\nKept out for a fair test on {names}: {dropped}."
    if of.facts:
        text += (
            "\n\nExact copies across sources were removed when the corpus was built; near copies were not.\n"
            "The sources' papers describe their patients and scanners, and which patients are missing."
        )
    return text


def _training(of: CardContent) -> str:
    settings, finished = of.finished.settings, of.finished
    batch = f"{settings.batch_size}" + (f" in {settings.accumulate} parts" if settings.accumulate > 1 else "")
    rows = [
        (
            "steps x batch",
            f"{settings.steps:,} x {batch}: {finished.draws:,} images shown, repetitions included",
        ),
        (
            "optimizer",
            f"AdamW, rate {settings.lr:g} after a warm-up of {settings.warmup:.0%}, then a cosine to 0",
        ),
        ("objective", OBJECTIVES[settings.objective].label),
        ("augmentation", f"{settings.augmentation}: {make_augmentation(settings).describe()}"),
        ("weight decay", f"{settings.weight_decay:g}"),
        *_start_rows(finished),
        ("weights kept", f"moving average, decay {settings.ema:g}" if settings.ema else "the last ones"),
        *(
            [("batch norm", "trained with the statistics of the initial weights")]
            if settings.freeze_norm
            else []
        ),
        ("sources drawn", f"in proportion to their size to the power 1/{settings.temperature:g}"),
        ("seed", f"{settings.seed}; one training from one seed"),
        ("took", f"{duration(finished.seconds)} on {finished.processes} x {finished.device}"),
    ]
    return f"""## Training

{_losses(of)}

{markdown_table(rows, ("", ""))}

![Loss of each source, and AUC on its held-out images, against the step](curve.png)

`curve.csv` has the numbers, `{of.path.name}` every setting."""


def _start_rows(finished: PretrainResult) -> list[tuple[str, str]]:
    """Return how the initial weights were kept, and how far the weights moved from them."""
    if finished.start is None:
        return []
    settings, moved = finished.settings, finished.distance_from_start
    kept = f"layer-wise decay of the rate {settings.layer_decay:g}, L2-SP {settings.anchor:g}"
    distance = [] if moved is None else [("distance from them", f"{moved:.2%} of their L2 norm")]
    return [("initial weights", kept), *distance]


def _losses(of: CardContent) -> str:
    objective = OBJECTIVES[of.finished.settings.objective]
    heads = (
        "One head per source; cross-entropy, or binary cross-entropy where a source has several labels an "
        "image."
    )
    views = (
        "SimCLR (arXiv 2002.05709): two augmented views of an image are to be more alike than views of two "
        "images."
    )
    parts = ((heads, objective.uses_labels), (views, objective.takes_unlabeled))
    return "\n".join(text for text, applies in parts if applies)


def _scores(of: CardContent) -> str:
    rows = [
        (source.name, f"{source.held_out:,}", "undefined" if source.score is None else f"{source.score:.3f}")
        for source in of.finished.sources
    ]
    warning = "\nThe initial weights may have been trained on them." if of.finished.start else ""
    if not OBJECTIVES[of.finished.settings.objective].uses_labels:
        return (
            "## Held-out scores\n\nNone: the objective needs no labels, so that there is no classifier to "
            "score.\n`curve.csv` has the loss on held-out images (`val_loss`)."
        )
    return f"""## Held-out scores

AUC (one against rest, mean over classes) of the final weights on images of the same sources that were held
out of the training, by whole groups where the source names groups. They show that something was learned,
not how well the features transfer, and with so few images they are rough.{warning}

{markdown_table(rows, ("source", "images (n)", "AUC"))}"""


def _tasks(variant: str) -> list[Task]:
    tasks = catalog(DataLocations()).values()
    return [t for t in tasks if t.variant == variant and t.role == "task" and not t.generated]


def _overlap(of: CardContent) -> str:
    rows, clean = [], []
    for task in _tasks(of.finished.settings.variant):
        found = task.contamination(of.card.corpora)
        if found.level == "clean":
            clean.append(task.name)
        else:
            rows.append((task.name, found.level, "; ".join(map(str, found.reasons))))
    lines = "These weights may have seen test images of these tasks:\n\n"
    table = lines + markdown_table(rows, ("task", "overlap", "why")) if rows else "None that is known."
    index = (
        f"\n`{of.card.hashes}` has a perceptual hash of every image of the corpus, for `mednet-bench audit "
        f"contamination`{', but of none that the initial weights have seen' if of.finished.start else ''}."
        if of.card.hashes
        else ""
    )
    return f"""## Overlap with tasks of the catalog

{table}

Clean as far as the sources declare their parents: {", ".join(clean) or "none"}.
{_unknown_sources(of)}{index}"""


def _unknown_sources(of: CardContent) -> str:
    """Name the sources whose origin is not in the catalog: "clean" is no evidence about them."""
    unknown = [facts.name for facts in of.facts.values() if not any(map(is_known, words_of(facts)))]
    if not unknown:
        return ""
    return f"\nThe catalog does not list {', '.join(unknown)}: their overlap is not known.\n"


def _license(of: CardContent) -> str:
    licenses = implied_terms(source.license for source in of.card.corpus)
    binding = "\n".join(f"* {terms.word}: {MEANING[terms]}" for terms in licenses.terms)
    start = of.finished.start
    initial = f"\n\nThe initial weights ({start.label}) have terms of their own, too." if start else ""
    citation = f"\n\nPlease cite: {of.card.citation}" if of.card.citation else ""
    return f"""## License

The strictest of the sources' terms is **{licenses.strictest.word}**. All that occur:

{binding}{initial}{citation}

This is a summary of what the sources state and no legal advice."""


def _usage(of: CardContent) -> str:
    settings, contract = of.finished.settings, of.finished.contract
    tasks = [task for task in _tasks(settings.variant) if not task.contamination(of.card.corpora).reasons]
    names = ",".join(task.name for task in tasks[:3]) or "TASK"
    return f"""## How to use it

From the folder of this file:

```sh
mednet-bench run --tasks {names} --inits mednet={of.path.name},imagenet,scratch \\
    --archs {settings.arch} --input-size {settings.input_size}
```
{"" if settings.arch in CIFAR_STEMS else _python_example(of)}
Inputs are RGB (a gray image three times), scaled to 0..{contract.value_range}, less the mean
{list(contract.mean)}, divided by {list(contract.std)}."""


def _python_example(of: CardContent) -> str:
    return f"""
Or in Python, where `load_state_dict` checks that every tensor is used:

```python
import timm
from safetensors.torch import load_file

backbone = timm.create_model("{of.card.arch}", num_classes=0)
backbone.load_state_dict(load_file("{of.card.path}"))
```
"""


def markdown_table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> str:
    """Return a table in Markdown; every cell is cleaned and on one line."""
    safe = [[one_line(str(cell)).replace("|", "\\|") for cell in row] for row in rows]
    return tabulate(safe, headers=headers, tablefmt="github", disable_numparse=True)
