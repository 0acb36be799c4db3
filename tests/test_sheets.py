"""Tables for papers: table.md and table.tex of reports and comparisons."""

from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.evaluation.report_sheets import (
    comparison_sheet,
    report_sheets,
    write_report_tables,
)
from speechbrain_fv.evaluation.sheets import Measured, markdown
from tests.clips import people_with_clips
from tests.tables import tabulars


def node(one, other, low, high):
    return {
        "one": one,
        "other": other,
        "difference": other - one,
        "difference_interval": [low, high],
    }


def test_a_report_is_a_table_per_task_with_the_values_that_it_holds(tmp_path):
    report = evaluate(*people_with_clips(dim=8), num_replicates=20)
    sheets = {sheet.name: sheet for sheet in report_sheets(report)}
    assert list(sheets) == ["verification", "matching_F-V", "matching_V-F", "retrieval"]
    of_gender = report["verification"]["G"]
    (row,) = (row for row in sheets["verification"].rows if row[0] == "same gender (G)")
    low, high = of_gender["auc_interval"]
    assert row[1] == Measured(100 * of_gender["auc"], None, 100 * low, 100 * high)
    write_report_tables(tmp_path, report)
    text = (tmp_path / "table.tex").read_text()
    assert [len(rows) - 1 for rows in tabulars(tmp_path / "table.tex")] == [
        len(sheet.rows) for sheet in sheets.values()
    ]
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == len(sheets)
    assert r"\begin{tabular}{lrr}" in text and f"{row[1].value:.1f}" in text
    assert "| negatives | AUC | EER |\n| --- | ---: | ---: |" in (tmp_path / "table.md").read_text()


def test_a_report_without_values_leaves_no_table(tmp_path):
    write_report_tables(tmp_path, {"verification": {"U": None}, "lists": {}})
    assert not list(tmp_path.iterdir())


def test_the_better_is_bold_and_both_where_the_interval_holds_zero():
    sheet = comparison_sheet(
        {
            "verification/U/auc": node(0.8, 0.9, 0.05, 0.15),
            "verification/U/eer": node(0.1, 0.2, 0.05, 0.15),
            "retrieval/F-V/map": node(0.3, 0.4, -0.1, 0.3),
            "verification/G/auc": dict.fromkeys(node(0, 0, 0, 0)),
        },
        ["a", "b"],
    )
    bold = [[cell and cell.best for cell in row[1:3]] for row in sheet.rows]
    assert bold == [[False, True], [True, False], [True, True], [None, None]]
    assert "| 80.0 | **90.0** | +10.0 [+5.0, +15.0] |" in markdown(sheet)
