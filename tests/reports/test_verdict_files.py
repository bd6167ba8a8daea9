"""The files of the verdicts: by hand from the predictions, as documented, without a formula or a NaN."""

import csv
import json
import math
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic import Grid, record_of, replace_cell, write_run

from mednet_bench.cli import options
from mednet_bench.reports.elements.format import GENERATED
from mednet_bench.reports.pages import verdict_files
from mednet_bench.reports.pages.build import BuiltReport, build_report
from mednet_bench.reports.pages.verdict_files import VerdictLine, verdict_lines, verdict_rows, verdicts_csv
from mednet_bench.reports.pages.verdict_tex import escape_latex
from mednet_bench.reports.statistics.paired import MARGIN

DOCS = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")
REQUIRED = (
    "task", "arch", "protocol", "fraction", "init_a", "init_b", "metric", "n_seeds", "difference", "low",
    "high", "verdict", "mde", "seeds_needed", "flags",
)  # fmt: skip
FORMULA = "=cmd()|`a`"


def rows(built: BuiltReport) -> list[dict[str, str]]:
    return list(csv.DictReader((built.csv.parent / "verdicts.csv").open(newline="")))


def whole(built: BuiltReport) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((built.csv.parent / "verdicts.json").read_text(), parse_constant=refuse)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltReport:
    """Real and generated tasks, a hostile name, and an init without a third seed."""
    folder = tmp_path_factory.mktemp("run")
    tasks = ("breastmnist", "pneumoniamnist", "phantom-thorax", FORMULA)
    lacks = Grid(tasks=tasks, skip=lambda cell: cell.init == "scratch" and cell.seed == 2)
    write_run(folder, lacks)
    return build_report([folder])


def test_the_lines_of_the_documentation_give_every_difference_and_interval(built: BuiltReport):
    assert len(rows(built)) == 4 * 3 * 3
    check_documented_lines(built)


def test_the_lines_of_the_documentation_give_the_interval_of_images_in_groups(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), fractions=(1.0,)))
    for path in tmp_path.glob("predictions/*.npz"):
        arrays = dict(np.load(path))
        np.savez(path, **arrays, groups=np.arange(len(arrays["labels"])) // 5)
    check_documented_lines(build_report([tmp_path]))


def check_documented_lines(built: BuiltReport) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, flags=re.S)
    assert "mednet_bench" not in code
    for line in rows(built):
        names = {"RUN": built.results.folders[0], "KEYS_A": line["keys_a"], "KEYS_B": line["keys_b"]}
        names |= {
            "PRIOR_SD": float(line["prior_sd"] or 0),
            "PRIOR_FREEDOM": float(line["prior_freedom"] or 0),
        }
        exec(code, names)
        for name in ("difference", "low", "high"):
            assert names[name] == pytest.approx(float(line[name]), abs=1e-6), (line["task"], name)


def test_the_columns_are_those_that_are_promised_and_each_is_documented(built: BuiltReport):
    header = list(rows(built)[0])
    assert header[: len(REQUIRED)] == [*REQUIRED]
    described = set(re.findall(r"`(\w+)`", DOCS.partition("## The files")[2].partition("## Flags")[0]))
    assert set(header) <= described
    assert set(VerdictLine.__struct_fields__) <= described


def test_every_flag_is_documented(built: BuiltReport):
    from mednet_bench.reports.elements.verdict_flags import MEANINGS

    described = set(re.findall(r"`([\w-]+)`", DOCS.partition("## Flags")[2]))
    assert described == set(MEANINGS)
    assert {flag["name"] for line in whole(built)["verdicts"] for flag in line["flags"]} <= set(MEANINGS)


def test_json_and_csv_say_the_same(built: BuiltReport):
    content = whole(built)
    assert (content["format"], content["margin"], content["alpha"], content["power"]) == (
        2,
        MARGIN,
        0.05,
        0.8,
    )
    lines = rows(built)
    assert len(content["verdicts"]) == len(lines)
    for verdict, line in zip(content["verdicts"], lines, strict=True):
        assert verdict["verdict"] == line["verdict"]
        assert verdict["difference"] == float(line["difference"])
        assert line["seeds"] == " ".join(map(str, verdict["seeds"]))
        assert len(verdict["keys_a"]) == len(verdict["keys_b"]) == verdict["n_seeds"] == int(line["n_seeds"])
        assert line["flags"] == "; ".join(dict.fromkeys(flag["name"] for flag in verdict["flags"]))
        assert all(flag["reason"] for flag in verdict["flags"])
        assert line["generated"] == str(verdict["generated"]).lower()


def test_the_keys_are_those_of_the_paired_seeds_in_their_order(built: BuiltReport):
    cells = {record.key: record.cell for record in built.results.counted}
    for verdict in whole(built)["verdicts"]:
        if "scratch" in (verdict["init_a"], verdict["init_b"]):
            assert verdict["seeds"] == [0, 1]
            assert "unpaired" in {flag["name"] for flag in verdict["flags"]}
        for side in ("a", "b"):
            of_side = [cells[key] for key in verdict[f"keys_{side}"]]
            assert [cell.seed for cell in of_side] == verdict["seeds"]
            assert {(cell.task, cell.init) for cell in of_side} == {
                (verdict["task"], verdict[f"init_{side}"])
            }


def test_a_number_of_seeds_without_bound_is_inf_in_the_csv_and_null_in_the_json(
    built: BuiltReport, monkeypatch: pytest.MonkeyPatch
):
    one = verdict_lines(built.results)[0]  # no comparison of this run is beyond any number of seeds
    hopeless = msgspec.structs.replace(one, seeds_needed=None, seeds_needed_unbounded=True)
    monkeypatch.setattr(verdict_files, "verdict_lines", lambda results: (hopeless,))
    assert verdict_rows(built.results)[0]["seeds_needed"] == math.inf
    assert verdicts_csv(built.results).splitlines()[1].split(",")[13] == "inf"


def test_a_number_of_seeds_is_a_number_or_unknown(built: BuiltReport):
    pairs = list(zip(whole(built)["verdicts"], rows(built), strict=True))
    for verdict, line in pairs:
        if verdict["seeds_needed_unbounded"]:
            assert (line["seeds_needed"], verdict["seeds_needed"]) == ("inf", None)
        else:
            number = verdict["seeds_needed"]
            assert line["seeds_needed"] == ("" if number is None else str(number))
            assert number is None or (verdict["verdict"] == "undecided" and number >= verdict["n_seeds"])


def test_the_three_probabilities_add_up_and_agree_with_the_verdict(built: BuiltReport):
    for line in rows(built):
        chances = [float(line[name]) for name in ("p_better", "p_within_margin", "p_worse")]
        assert sum(chances) == pytest.approx(1) and min(chances) >= 0
        place = {"better": 0, "equivalent": 1, "worse": 2}.get(line["verdict"])
        assert place is None or max(chances) == chances[place]


def test_what_is_unknown_is_empty_and_null(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), fractions=(1.0,), predictions=False))
    built = build_report([tmp_path])
    assert {line["difference"] + line["low"] + line["mde"] + line["p"] for line in rows(built)} == {""}
    for verdict in whole(built)["verdicts"]:
        assert (verdict["difference"], verdict["low"], verdict["mde"], verdict["seeds_needed"]) == (None,) * 4
        assert "no-evidence" in {flag["name"] for flag in verdict["flags"]}


def test_a_name_is_no_formula_in_the_csv_and_no_command_in_latex(built: BuiltReport):
    assert f"'{FORMULA}" in {line["task"] for line in rows(built)}
    text = (built.csv.parent / "verdicts.tex").read_text()
    assert escape_latex(r"a_b&50%$x$\input{~/f}^#<>|`") == (
        r"a\_b\&50\%\$x\$\textbackslash{}input\{\textasciitilde{}/f\}\textasciicircum{}\#\textless{}"
        r"\textgreater{}\textbar{}\textasciigrave{}"
    )
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line and line != r"\midrule"]
    assert len(lines) == len(rows(built))
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {8}
    assert all("phantom-thorax" not in line or GENERATED in line for line in lines)
    assert "\u2212" not in text


def test_the_margin_decides_and_is_written(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), seeds=tuple(range(5))))
    narrow, wide = (
        build_report([tmp_path], tmp_path / "narrow"),
        build_report([tmp_path], tmp_path / "wide", margin=0.3),
    )
    assert "equivalent" not in {line["verdict"] for line in rows(narrow)}
    assert {line["verdict"] for line in rows(wide)} == {"equivalent"}
    assert {line["margin"] for line in rows(wide)} == {"0.3"}
    assert "0.3 AUC" in wide.html.read_text()


def test_the_option_has_the_margin_of_the_reports_and_takes_no_other_kind_of_number():
    option = options.field_option("margin")
    assert float(option.default) == MARGIN
    for value in (0.0, -0.01, 0.5, math.nan, math.inf):
        with pytest.raises(Exception, match=r"above 0 and below 0\.5"):
            option.process_value(options.click.Context(options.click.Command("run")), value)


def test_the_estimand_follows_the_share_of_labels_the_tuning_and_the_seeds(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), protocols=("finetune", "linear"), fractions=(0.1, 0.5)))
    built = build_report([tmp_path])
    found = {(line["protocol"], line["fraction"]): line["estimand"] for line in rows(built)}
    shared, own = "other trainings with the tuning of one seed", "other trainings with their tuning"
    assert found == {  # the invented run has tune cells for finetune, as version 0.1
        ("finetune", "0.1"): f"other test images, {shared}, other draws of the labels from this pool",
        ("finetune", "0.5"): f"other test images, {shared}, for these training images",
        ("linear", "0.1"): f"other test images, {own}, other draws of the labels from this pool",
        ("linear", "0.5"): f"other test images, {own}, for these training images",
    }
    assert [verdict["estimand"] for verdict in whole(built)["verdicts"]] == [
        line["estimand"] for line in rows(built)
    ]
    page = built.html.read_text(encoding="utf-8").replace("\u00a0", " ")
    for fraction, text in (("10 %", found["linear", "0.1"]), ("50 %", found["linear", "0.5"])):
        assert page.count(f"With {fraction} of the labels, intervals cover {text}.") == 1


def test_the_estimand_names_groups_and_seeds_that_do_not_differ(tmp_path: Path):
    grid = Grid(tasks=("breastmnist",), inits=("imagenet", "scratch", "mednet"), fractions=(1.0,))
    for record in write_run(tmp_path, grid):
        path = tmp_path / "predictions" / f"{record.key}.npz"
        if not path.exists():
            continue
        first = record.cell.init != "scratch"
        source = record_of(replace_cell(record.cell, seed=0), grid) if first else record
        arrays = dict(np.load(tmp_path / "predictions" / f"{source.key}.npz"))
        np.savez(path, **{**arrays, "groups": np.arange(300) // 5})
        if first:
            same = msgspec.structs.replace(record, metrics=source.metrics)
            (tmp_path / "records" / f"{record.key}.json").write_bytes(msgspec.json.encode(same))
    found = {(line["init_a"], line["init_b"]): line["estimand"] for line in rows(build_report([tmp_path]))}
    images = "other groups of test images"
    one = f"{images}, other trainings of one init only with the tuning of one seed, for these training images"
    assert found == {
        ("imagenet", "scratch"): one,
        ("scratch", "mednet"): one,
        ("imagenet", "mednet"): f"{images}, for these two trained models",
    }


def test_resampled_trainings_are_never_mixed_with_others_and_cover_other_training_images(tmp_path: Path):
    folders = [tmp_path / "usual", tmp_path / "resampled"]
    for folder, resampled in zip(folders, (False, True), strict=True):
        inits = ("imagenet", "scratch")
        grid = Grid(tasks=("breastmnist",), inits=inits, fractions=(1.0,), resampled=resampled)
        write_run(folder, grid)
    built = build_report(folders, tmp_path / "report")
    assert not built.results.repeated and {len(row.seeds) for row in built.results.rows} == {3}
    tuned = "other test images, other trainings with the tuning of one seed"
    assert {line["protocol"]: line["estimand"] for line in rows(built)} == {
        "finetune": f"{tuned}, for these training images",
        "finetune (resampled)": f"{tuned} and, approximately, other training images like these",
    }
    assert len(rows(built)) == 2


def test_a_pair_without_interval_has_no_estimand(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), seeds=(0,), fractions=(1.0,)))
    assert {line["estimand"] for line in rows(build_report([tmp_path]))} == {""}
