"""A leakage audit as text for a terminal."""

from collections.abc import Iterator

from ...benchmark.audits.leakage.outcome import LeakageAudit, ShortcutHint
from ...core.errors import one_line
from ...core.text_tables import tabulate

_Line = tuple[str, str, str, str]
HEADS = ("finding", "where", "found", "means")


def leakage_text(audit: LeakageAudit) -> str:
    """Return one audit as a heading and a table; images are named by row only in the JSON."""
    images = ", ".join(f"{count:,} {name}" for name, count in audit.images.items())
    none = "no leak is shown" if audit.doubts else "no leak as far as was looked"
    verdict = "leaks: " + "; ".join(audit.leaks) if audit.leaks else none
    notes = "".join(
        f"\n{audit.task}: {one_line(clause)}" for clause in (*audit.doubts, *audit.shortcut_clauses)
    )
    table = tabulate(_table_rows(audit), HEADS)
    return f"{audit.task}, {audit.size} px ({images})\n{table}\n{audit.task}: {verdict}{notes}"


def _table_rows(audit: LeakageAudit) -> Iterator[_Line]:
    yield from _equal_rows(audit)
    yield from _near_rows(audit)
    yield from _group_rows(audit)
    for what, rows in (("one single value", audit.constant), ("nothing but noise", audit.blank)):
        for split, images in rows.items():
            yield what, split, _format_count(len(images), "image"), "no evidence for any class"
    for hint in audit.hints:
        yield _hint_row(hint)
    yield from _association_rows(audit)


def _equal_rows(audit: LeakageAudit) -> Iterator[_Line]:
    for where, groups in audit.spans.items():
        means = "LEAK" if " and " in where else "counted more than once"
        yield "equal images", where, _format_count(groups, "group"), means
    unlike = sum(group.conflict for group in audit.exact)
    if unlike:
        groups = _format_count(unlike, "group")
        yield "equal images, unlike labels", "any", groups, "one of the labels is wrong"
    if not audit.exact:
        yield "equal images", "any", "none", "clean"


def _near_rows(audit: LeakageAudit) -> Iterator[_Line]:
    for near in audit.near:
        low, high = near.interval
        equal = sum(match.exact for match in near.matches)
        unlike = sum(match.conflict for match in near.matches)
        extra = [f"{equal:,} equal" if equal else "", f"{unlike:,} with another label" if unlike else ""]
        share = f"{len(near.matches):,} of {near.checked:,} ({low:.1%} to {high:.1%})"
        means = near.means.replace("leak", "LEAK")
        yield "near copies", near.where, ", ".join(filter(None, (share, *extra))), means


def _group_rows(audit: LeakageAudit) -> Iterator[_Line]:
    if audit.shared is None:
        yield "shared groups", "any", "groups not known", "not looked"
        return
    for each in audit.shared:
        count = f"{_format_count(each.groups, 'group')}, {each.images:,} of {each.known:,} images"
        yield "shared groups", f"{each.split} in {each.against}", count, "LEAK"
    if not audit.shared:
        known, images = audit.patients_known, sum(audit.images.values())
        means = "clean" if known == images else "clean where known" if known else "shows nothing"
        yield "shared groups", "any", f"none, known of {known:,} of {images:,} images", means


def _hint_row(hint: ShortcutHint) -> _Line:
    where = f"{hint.target} from {hint.features}"
    if hint.auc is None:
        return "shortcut", where, "not tried", hint.reason
    figures = f"AUC {hint.auc:.3f}, chance up to {hint.chance:.3f}, {hint.images:,} images"
    weak = hint.chance is not None and hint.auc > hint.chance
    return (
        "shortcut",
        where,
        figures,
        "hint" if hint.exceeds_chance else "hardly a hint" if weak else "no hint",
    )


def _association_rows(audit: LeakageAudit) -> Iterator[_Line]:
    """Yield the file properties that go with the label, or one line if none does."""
    found = [each for each in audit.associations if each.found]
    for each in found:
        figures = f"p = {each.p:.2g}, limit {each.limit:.2g}, {each.images:,} images"
        yield "exact test", f"label with {each.trait}", figures, "hint"
    if audit.associations and not found:
        count, least = len(audit.associations), min(audit.associations, key=lambda each: each.p)
        figures = f"p from {least.p:.2g}, limit {least.limit:.2g}, {least.images:,} images"
        yield (
            "exact test",
            f"label with {count} file propert{'y' if count == 1 else 'ies'}",
            figures,
            "no hint",
        )


def _format_count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
