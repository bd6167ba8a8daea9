"""A section of the report: the mean of the example's metric, per row of the leaderboard."""

from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.elements.section import SectionContent, SectionPart, Table, TableColumn

METRIC = "example_miss"


def summary(results: ReportInput) -> SectionContent | None:
    """Make one table with its n; None where no record has the metric."""
    rows = [row for row in results.rows if METRIC in row.stats and row.stats[METRIC].n]
    if not rows:
        return None
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Init", facet="init"),
        TableColumn("Missed", ".3f"),
        TableColumn("n", "d"),
    )
    body = tuple((row.task, row.init, row.stats[METRIC].mean, row.stats[METRIC].n) for row in rows)
    table = Table("Missed share of the worst class, mean over n seeds", columns, body)
    return SectionContent("The worst class (example)", (SectionPart(blocks=(table,)),))
