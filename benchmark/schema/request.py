"""`RunConfig`: every option of a run, with its type, default, limits and help.

Command line, TOML files and the Python API follow from it: an option is added here and nowhere else.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ...baselines.weights.archs import DEFAULT_ARCH
from ...core.config_fields import field_meta, normalize
from ...core.errors import UserError
from ...tasks import from_files
from ...tasks.card_path import is_card_path, read_card_name
from .budget import BUDGETS, STANDARD, is_vision_transformer, vit_rates
from .plan import (
    BY_BUDGET,
    TRAINING,
    Cell,
    LabelBudget,
    LabelsPerClass,
    TrainingConfig,
    fill_by_budget,
)
from .split_overlap import Dedupe

STORED_SIZE = 28
"""Default stored size in pixels, but of own files that `validate` has prepared at another."""
MIN_INPUT_SIZE = 64
"""Pixels; below, weights trained at 224 px lose far more than those trained at the run's size."""
MAX_SEED = 2**32 - 1
"""Largest seed that every random number generator accepts."""
MAX_SEED_RANGE = 100_000
"""A longer range is taken for a typing error."""
AUTO_FOLDS = -1
"""`--folds` of a run that leaves it to the data, see `benchmark.run.auto_folds`."""
COMPARED, FILES, MACHINE, OUTPUT = "What to compare", "Files", "Machine", "Output"
OPTION_GROUPS = (COMPARED, FILES, TRAINING, MACHINE, OUTPUT)
"""Headings of the help, in their order."""
Names = tuple[str, ...]


def parse_seeds(value: object) -> object:
    """Parse `0..4` (both ends included), `0,1,2` or a mixture; anything but a text is returned as it is."""
    if isinstance(value, range) and len(value) > MAX_SEED_RANGE:
        raise UserError(f"--seeds {value}: these are more than {MAX_SEED_RANGE:,} seeds.")
    if not isinstance(value, str):
        return value
    found: list[int] = []
    for part in filter(None, map(str.strip, value.split(","))):
        first, dots, last = part.partition("..")
        try:
            low, high = int(first), int(last) if dots else int(first)
        except ValueError:
            raise UserError(f"--seeds {value}: '{part}' is neither a number nor a range like 0..4.") from None
        if not 0 <= low <= high <= MAX_SEED:
            raise UserError(f"--seeds {value}: '{part}' must rise, and lie between 0 and {MAX_SEED}.")
        if high - low >= MAX_SEED_RANGE:
            raise UserError(f"--seeds {value}: '{part}' are more than {MAX_SEED_RANGE:,} seeds.")
        found.extend(range(low, high + 1))
    return found


def seed_list(seeds: Iterable[int]) -> str:
    """Write seeds as `--seeds` takes them: 0..4,7."""
    ranges: list[list[int]] = []
    for seed in seeds:
        if ranges and ranges[-1][-1] + 1 == seed:
            ranges[-1] = [ranges[-1][0], seed]
        else:
            ranges.append([seed])
    return ",".join("..".join(map(str, ends)) for ends in ranges)


def prepared_size(tasks: Names) -> int | None:
    """Return the size in pixels at which all tasks were last prepared from files, else None.

    Raises:
        UserError: they were prepared at several sizes.
    """
    sides = {from_files.prepared_side.newest_prepared_side(task) for task in tasks}
    if len(sides) > 1 and None not in sides:
        found = " and ".join(map(str, sorted(side for side in sides if side)))
        raise UserError(f"The tasks were prepared at {found} pixels: say by --size which to use.")
    return sides.pop() if len(sides) == 1 else None


def _is_empty_list(value: object) -> bool:
    return isinstance(value, (tuple, list)) and not value


class RunConfig(TrainingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All options of a run; as written into `plan.json`.

    Values may be texts as on the command line (``fractions="0.1,1"``, ``seeds="0..4"``), or lists, ranges,
    paths and numbers; each is converted to the type of its field.

    Raises:
        UserError: a value has another type, or is out of range; the sentence is that of the command line.
    """

    tasks: Annotated[
        Names,
        field_meta(
            COMPARED,
            "Tasks: names, globs, cards (.toml), or groups (all, available, medmnist, phantom, gray, color).",
            min_length=1,
        ),
    ] = ("available",)
    inits: Annotated[
        Names,
        field_meta(
            COMPARED,
            "Pretrained weights to compare, comma-separated; NAME=PATH adds your own, `ls` lists all.",
            min_length=1,
        ),
    ] = ("mednet", "imagenet", "scratch")
    archs: Annotated[
        Names,
        field_meta(COMPARED, "Network architectures as timm names them, comma-separated.", min_length=1),
    ] = (DEFAULT_ARCH,)
    protocols: Annotated[
        Names,
        field_meta(
            COMPARED,
            "Ways to train, comma-separated: finetune, partial, lora, linear, knn; `ls` lists all.",
            min_length=1,
        ),
    ] = ("finetune",)
    protocol_option: Annotated[
        dict[str, dict[str, Any]],
        field_meta(
            COMPARED,
            "PROTOCOL.OPTION=VALUE, an option of one protocol; may be repeated.",
            hint="such as partial.stages=2",
            metavar="TEXT",
        ),
    ] = msgspec.field(default_factory=dict)
    pretrain_option: Annotated[
        dict[str, dict[str, Any]],
        field_meta(
            COMPARED,
            "INIT.OPTION=VALUE, an option of the pretraining of mednet or continued; may be repeated.",
            hint="such as mednet.objective=simclr",
            metavar="TEXT",
        ),
    ] = msgspec.field(default_factory=dict)
    budget: Annotated[
        Literal["quick", "standard", "thorough"],
        field_meta(
            COMPARED, "Default passes, steps, learning rates, seeds, fractions and pretraining images."
        ),
    ] = STANDARD
    fractions: Annotated[
        tuple[Annotated[float, Meta(gt=0, le=1)], ...],
        field_meta(
            COMPARED,
            "Fractions of the training and validation labels in (0, 1], comma-separated.",
            min_length=1,
            hint="0.1 means 10 % of the labels",
        ),
    ] = BY_BUDGET
    shots: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        field_meta(
            COMPARED,
            "Labels per class in train, and in val, comma-separated; instead of --fractions, or beside them.",
            hint="5 means 5 labels of each class",
        ),
    ] = ()
    seeds: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=MAX_SEED)], ...],
        field_meta(
            COMPARED, "Random seeds, like 0..4 or 0,1,2.", min_length=1, parse=parse_seeds, write=seed_list
        ),
    ] = BY_BUDGET
    size: Annotated[
        int,
        field_meta(
            COMPARED,
            "Stored image size in pixels: 28, 64, 128 or 224 for MedMNIST, any for your own files.",
            ge=1,
            hint="28, 64, 128 or 224 for MedMNIST",
            shown="28; that of validate for your own files",
        ),
    ] = BY_BUDGET
    input_size: Annotated[
        int,
        field_meta(
            COMPARED,
            f"Size of the network's input in pixels; 0 is the larger of --size and {MIN_INPUT_SIZE}.",
            ge=0,
        ),
    ] = 0
    dedupe: Annotated[
        Dedupe | None,
        field_meta(
            COMPARED,
            "Drop test images that also occur in train or val; `train` drops the copies there instead.",
            flag_value="test",
        ),
    ] = None
    resample: Annotated[
        bool,
        field_meta(
            COMPARED,
            "Train each seed on a resample of the labels; verdicts then roughly cover other training sets.",
        ),
    ] = False
    folds: Annotated[
        int,
        field_meta(
            COMPARED,
            "Folds by patient of own tasks without a test split; 0 is off, -1 means 5 below 1,000 images.",
            ge=-1,
        ),
    ] = AUTO_FOLDS
    repeats: Annotated[
        int,
        field_meta(
            COMPARED,
            "Partitions into --folds, each with the trainings of one seed; 0 is one for each seed.",
            ge=0,
        ),
    ] = 0
    data_root: Annotated[str, field_meta(FILES, "Folder with data files; overrides MEDNET_BENCH_DATA.")] = ""
    task_file: Annotated[
        Names,
        field_meta(FILES, "Card of your own data set (.toml); may be repeated.", repeat=True, metavar="FILE"),
    ] = ()
    init_file: Annotated[
        Names,
        field_meta(
            FILES,
            "Card of weights (.toml) or code that registers inits (.py); may be repeated.",
            repeat=True,
            metavar="FILE",
        ),
    ] = ()
    download: Annotated[bool, field_meta(FILES, "Download missing data and weights.")] = True
    device: Annotated[
        str,
        field_meta(
            MACHINE,
            "Where to compute: auto, cpu, cuda, cuda:1 or mps.",
            min_length=1,
            if_empty="name auto, cpu, cuda, cuda:1 or mps",
        ),
    ] = "auto"
    jobs: Annotated[int, field_meta(MACHINE, "Processes that share the cells and the GPUs.", ge=1)] = 1
    per_gpu: Annotated[
        int, field_meta(MACHINE, "Processes on each GPU, instead of --jobs; 0 leaves it to --jobs.", ge=0)
    ] = 0
    executor: Annotated[
        str,
        field_meta(
            MACHINE,
            "What computes the cells: local (this machine), or slurm or ray (a cluster).",
            min_length=1,
            if_empty="name local, slurm or ray",
        ),
    ] = "local"
    workers: Annotated[
        int,
        field_meta(
            MACHINE, "Workers of --executor slurm or ray, each of which computes a cell at a time.", ge=1
        ),
    ] = 1
    slurm: Annotated[
        Names,
        field_meta(
            MACHINE,
            "Options of sbatch, comma-separated, like partition=gpu,gres=gpu:1,time=02:00:00.",
        ),
    ] = ()
    ray_address: Annotated[
        str,
        field_meta(
            MACHINE,
            "Head node of --executor ray, HOST:PORT; RAY_ADDRESS, else this machine's by default.",
            metavar="HOST:PORT",
        ),
    ] = ""
    cuda_graphs: Annotated[
        bool,
        field_meta(MACHINE, "Record training steps as CUDA graphs, after a check; not yet run on a GPU."),
    ] = False
    limit: Annotated[
        int, field_meta(MACHINE, "Maximum number of evaluations to compute now; 0 is all.", ge=0)
    ] = 0
    out: Annotated[
        str,
        field_meta(
            OUTPUT,
            "Run directory; the same one resumes a run.",
            min_length=1,
            if_empty="name a folder for the run",
        ),
    ] = "runs/latest"
    overwrite: Annotated[
        Literal["only-missing", "always", "never"],
        field_meta(
            OUTPUT,
            "only-missing: compute missing and failed cells; never: only missing ones; always: all.",
        ),
    ] = "only-missing"
    keep_models: Annotated[
        Literal["none", "final"],
        field_meta(
            OUTPUT,
            "final: keep the network that each cell trains, in models/ of the run directory.",
        ),
    ] = "none"
    report: Annotated[bool, field_meta(OUTPUT, "Write the report at the end.")] = True
    open: Annotated[bool, field_meta(OUTPUT, "Open the report in a browser at the end.")] = False
    margin: Annotated[
        float,
        field_meta(
            OUTPUT,
            "Differences of AUC below this count as equivalent in verdicts.",
            gt=0,
            lt=0.5,
        ),
    ] = 0.01

    def __post_init__(self) -> None:
        only_shots = not _is_empty_list(self.shots) and (
            self.fractions is None or _is_empty_list(self.fractions)
        )
        if only_shots:  # an empty list is an error otherwise
            msgspec.structs.force_setattr(self, "fractions", None)
        normalize(self)
        self._take_cards()
        if self.size is None:
            msgspec.structs.force_setattr(self, "size", prepared_size(self.tasks) or STORED_SIZE)
        if only_shots:
            msgspec.structs.force_setattr(self, "fractions", ())
        fill_by_budget(self, self.budget)
        for name in ("fractions", "shots"):
            msgspec.structs.force_setattr(self, name, tuple(sorted(getattr(self, name))))
        self._check_folds()
        if self.shots and self.resample:
            raise UserError("--resample draws a share of the labels anew: leave out --shots, or --resample.")

    def _take_cards(self) -> None:
        """Replace cards among the tasks by their names, and add them to `task_file`."""
        names = {word: read_card_name(Path(word)) for word in self.tasks if is_card_path(word)}
        cards = tuple(card for card in names if card not in self.task_file)
        msgspec.structs.force_setattr(self, "task_file", (*self.task_file, *cards))
        msgspec.structs.force_setattr(self, "tasks", tuple(names.get(word, word) for word in self.tasks))

    def _check_folds(self) -> None:
        if self.folds == 1:
            raise UserError("--folds 1: pass a whole number of at least 2, or 0 for no cross-validation.")
        if self.repeats and self.folds < 2:
            raise UserError(f"--repeats {self.repeats} repeats a cross-validation: pass --folds as well.")
        if self.repeats > len(self.seeds):
            raise UserError(
                f"--repeats {self.repeats}: each repeat takes a seed of its own, and --seeds has "
                f"{len(self.seeds)}: pass more seeds, or fewer repeats."
            )

    @property
    def label_budgets(self) -> tuple[LabelBudget, ...]:
        """Shots, then fractions, each from the fewest labels to the most."""
        return (*(LabelsPerClass(count=count) for count in self.shots), *self.fractions)

    @property
    def repeat_seeds(self) -> tuple[int, ...]:
        """Seeds of a cross-validated task, one per repeat."""
        return self.seeds[: self.repeats or None]

    @property
    def preset(self) -> dict[str, Any]:
        """Values of fields without a default of their own: those of the budget, and the usual size."""
        return {**msgspec.structs.asdict(BUDGETS[self.budget]), "size": STORED_SIZE}

    def with_options(self, options: Mapping[str, Any]) -> "RunConfig":
        """Return a copy with other options; fields with the value of the old budget follow a new one."""
        unset = {name: None for name, value in self.preset.items() if getattr(self, name) == value}
        return msgspec.structs.replace(self, **{**unset, **options})

    def recipe_for(self, cell: Cell) -> TrainingConfig:
        """Return the training configuration of a cell; that of a control still has every rate."""
        recipe = self.recipe
        if is_vision_transformer(cell.arch) and self.lr_grid == self.preset["lr_grid"]:
            recipe = msgspec.structs.replace(recipe, lr_grid=vit_rates(self.lr_grid))
        return recipe.extended(cell.longer) if cell.longer else recipe

    @property
    def recipe(self) -> TrainingConfig:
        """The fields that decide how a cell is trained."""
        return TrainingConfig(**{name: getattr(self, name) for name in TrainingConfig.__struct_fields__})

    @property
    def options(self) -> dict[str, object]:
        """The other fields, as plain data by name."""
        trained = TrainingConfig.__struct_fields__
        return {name: value for name, value in msgspec.to_builtins(self).items() if name not in trained}

    @property
    def folder(self) -> Path:
        """Run directory."""
        return Path(self.out)

    @property
    def network_input_size(self) -> int:
        """Side of the network's input in pixels, never 0."""
        return self.input_size or max(self.size, MIN_INPUT_SIZE)
