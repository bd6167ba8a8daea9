"""Feature reuse or weight scale: derived inits compared with their source, and CKA by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.feature_reuse import FinetunePlace, finetune_places, learned_inits, most_labels
from ..analysis.report_input import BASELINE, ReportInput
from ..analysis.transfusion import (
    CONTRADICTED,
    HALF,
    LITTLE,
    MUCH,
    QUICKER,
    REPRODUCED,
    UNCLEAR,
    UNTESTED,
    TransfusionFinding,
    transfusion_findings,
)
from ..elements.format import (
    GENERATED,
    compact_column,
    count_noun,
    format_number,
    format_percent,
    join_words,
    mean_and_sd,
    place_label,
    primary_title,
    task_entry,
)
from ..elements.pictures import InitLook, draw_panel, legend_swatch, looks_of, panel_title, report_style
from ..elements.section import (
    SECTIONS,
    Datum,
    Figure,
    FigurePanel,
    ReportAnswer,
    SectionContent,
    SectionPart,
    Table,
    TableColumn,
    TableEntry,
    TableRow,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CKA_PANELS = 24
"""Most panels of CKA; the table has the first and last stage of all."""
TRANSFUSION_QUESTION = "Are features reused, or only the scale of the weights?"
VERBS = {
    REPRODUCED: "reproduces",
    CONTRADICTED: "contradicts",
    UNCLEAR: "leaves undecided",
    UNTESTED: "does not test",
}
CLOSING = (
    "CKA measures how much the features of a stage changed, not whether the task needs them: features may "
    "stay because nothing moved them, as with scratch. It is measured on one sample of validation "
    "images, whose variance is not in these errors."
)


@SECTIONS.register("transfusion")
def transfusion_section(results: ReportInput) -> SectionContent | None:
    """Compare derived inits with their source; None if there are none and no CKA was measured."""
    found = finetune_places(results)
    of = learned_inits(found)
    asked = any(row.derived_from or p.cka(init)[1].size for p in found for init, row in p.rows.items())
    if not asked or not of:
        return None
    made = any(results.generated(p.task) for p in found)
    warning = f" The images are {GENERATED}." if made else ""
    judged = {source: transfusion_findings(results, found, source) for source in of}
    full = most_labels(found)
    lead = (
        'Raghu et al. 2019 ("Transfusion", NeurIPS) ask why pretraining helps on medical images. Derived '
        "weights keep a part of their source: meanvar the mean and variance of each tensor, shuffled every "
        f"value but not its place, partial the first stages. Much data is {MUCH:,} labeled images or more, "
        f"little {LITTLE:,} or less; a gain of less than {format_percent(QUICKER)} of the steps counts as "
        f"none; much of the speed is {format_percent(HALF)} of it in the logarithm. Each comparison needs "
        f"several seeds and is corrected for their number.{warning}",
    )
    figure = _figure(results, full, warning)
    blocks = (_findings_table(judged), _table(results, full), *((figure,) if figure else ()))
    part = SectionPart(lead=lead, points=(CLOSING,), blocks=blocks)
    answer = ReportAnswer(
        TRANSFUSION_QUESTION, _sentence(of[0], judged[of[0]], full) + warning, "transfusion"
    )
    return SectionContent("Features or scale", (part,), (answer,))


def _sentence(source: str, judged: Sequence[TransfusionFinding], full: Sequence[FinetunePlace]) -> str:
    """Write which findings are reproduced."""
    parts = []
    for outcome, verb in VERBS.items():
        if claims := [finding.claim for finding in judged if finding.outcome == outcome]:
            parts.append(f"{verb} {join_words(claims)}")
    tasks = count_noun(len({each.task for each in full}), "task")
    networks = count_noun(len({each.arch for each in full}), "network")
    known = any(init == f"meanvar:{source}" for each in full for init in each.rows)
    cure = "" if known else f" Add meanvar:{source} to --inits to test more findings."
    return (
        f"Of the findings of Transfusion (Raghu et al. 2019), with {source} this run {'; '.join(parts)}. "
        f"n = {tasks}, {networks}.{cure}"
    )


def _findings_table(judged: dict[str, tuple[TransfusionFinding, ...]]) -> Table:
    columns = (
        TableColumn("Finding"),
        TableColumn("Weights", facet="init"),
        TableColumn("This run"),
        TableColumn("Why"),
    )
    rows: list[TableRow] = [
        (each.claim, source, each.outcome, each.reason)
        for source, findings in judged.items()
        for each in findings
    ]
    return Table("Findings of Raghu et al. 2019", columns, tuple(rows))


def _table(results: ReportInput, full: Sequence[FinetunePlace]) -> Table:
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Architecture"),
        TableColumn("Protocol", facet="protocol"),
        TableColumn("Labels", "g", facet="fraction"),
        TableColumn("Init", facet="init"),
        TableColumn(primary_title(results), ".3f", "on the test images, mean and sd over seeds"),
        TableColumn("Steps", ",.0f", "to 95 % of the way from chance to the kept score, median over seeds"),
        TableColumn(f"Steps / {BASELINE}", ".2f", f"steps divided by those of {BASELINE}, median over seeds"),
        TableColumn("Speed kept", ".2f", "share of its source's gain over scratch, in log steps"),
        TableColumn("CKA, first stage", ".2f", "before against after fine-tuning, mean and sd over seeds"),
        TableColumn("CKA, last stage", ".2f", "likewise"),
        TableColumn("Seeds", "d"),
    )
    rows = [(p, init) for p in full for init in p.rows]
    table = Table(
        "Final score, speed and change of features, with the most labels of each task",
        columns,
        tuple(tuple(_line(results, p, init)) for p, init in rows),
        facts={"protocol": tuple(dict.fromkeys(p.block[4] for p in full))},
        keys=tuple(p.rows[init].keys for p, init in rows),
    )
    return compact_column(table, "Protocol")


def _line(results: ReportInput, p: FinetunePlace, init: str) -> Iterator[TableEntry]:
    row, pace = p.rows[init], p.paces[init]
    yield task_entry(results, p.task)
    yield p.arch
    yield row.protocol
    yield Datum(p.fraction, format_percent(p.fraction))
    yield init
    yield mean_and_sd(row.stats.get(results.primary), len(row.seeds))
    yield _median(pace.gained.values())
    yield _median(pace.ratio)
    yield _speed_share(p, init)
    values = p.cka(init)[1]
    yield from (_mean(values[:, at]) if values.size else Datum(None) for at in (0, -1))
    yield len(row.seeds)


def _speed_share(p: FinetunePlace, init: str) -> float | None:
    """Return the share of its source's speed-up that an init keeps; None if there is none."""
    source = p.paces.get(p.rows[init].derived_from)
    own, whole = (_median(pace.ratio) if pace else None for pace in (p.paces[init], source))
    if own is None or whole is None or whole >= 1:
        return None
    return float(np.log(own) / np.log(whole))


def _median(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return float(np.median(numbers)) if numbers else None


def _mean(values: np.ndarray) -> Datum:
    known = values[~np.isnan(values)]
    if not known.size:
        return Datum(None)
    sd = format_number(float(known.std(ddof=1)), ".2f") if known.size > 1 else ""
    return Datum(float(known.mean()), format_number(float(known.mean()), ".2f"), sd)


def _figure(results: ReportInput, full: Sequence[FinetunePlace], warning: str) -> Figure | None:
    shown = [p for p in full if any(p.cka(init)[1].size for init in p.rows)][:CKA_PANELS]
    if not shown:
        return None
    init_looks = looks_of([row.init for row in results.rows])
    inits = dict.fromkeys(init for p in shown for init in p.rows if p.cka(init)[1].size)
    with report_style():
        panels = tuple(_panel(p, init_looks, warning) for p in shown)
        keys = tuple((legend_swatch(init_looks[init]), init) for init in inits)
    caption = (
        "Similarity of the features of each stage before and after fine-tuning, from the first stage to the "
        "last: debiased linear CKA (Kornblith et al. 2019) on the same validation images, mean and range "
        f"over seeds. 1 is the same up to rotation and scale, 0 is unrelated.{warning}"
    )
    return Figure("transfusion-cka", caption, panels, keys)


def _panel(p: FinetunePlace, init_looks: dict[str, InitLook], warning: str) -> FigurePanel:
    def paint(axes: Axes) -> None:
        names: list[str] = []
        for init in p.rows:
            stages, values = p.cka(init)
            if not values.size:
                continue
            names, look = stages, init_looks[init]
            at, means = np.arange(len(stages)), np.nanmean(values, axis=0)
            axes.plot(at, means, color=look.color, marker=look.marker, linestyle=look.dash)
            axes.fill_between(at, np.nanmin(values, 0), np.nanmax(values, 0), color=look.color, alpha=0.13)
        axes.set_xticks(range(len(names)), [str(at + 1) for at in range(len(names))])
        axes.set_ylim(-0.1, 1.05)
        axes.set_xlabel("stage")
        panel_title(axes, f"{p.task}, {p.arch}", p.block[4])

    ends = [(init, p.cka(init)[1]) for init in p.rows]
    by_init = "; ".join(
        f"{init}: {format_number(float(np.nanmean(v[:, 0])), '.2f')} to "
        f"{format_number(float(np.nanmean(v[:, -1])), '.2f')}"
        for init, v in ends
        if v.size
    )
    where = place_label(p.arch, p.block[1], p.block[2])
    alt = f"CKA from the first stage to the last on {p.task}, {where}. {by_init}.{warning}"
    facts = {"task": p.task, "protocol": p.block[4], "fraction": p.fraction}
    return draw_panel(paint, 330, 220, alt, facts=facts)
