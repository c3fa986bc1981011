"""The published numbers are those of the paper, digit for digit."""

from __future__ import annotations

import pytest

from vdae_bench.errors import UserError
from vdae_bench.paper.published import PrintedValue, find_published, load_table, table_names
from vdae_bench.spec.sweep import Cell

# Copied from the text of the paper a second time, apart from published.yaml.
PRINTED = {
    "table1": """
        16      | VAE          | 6.55 | 6.63
        16      | L-VDAE       | 6.53 | 6.62
        32      | VAE          | 6.15 | 6.25
        32      | L-VDAE       | 6.10 | 6.22
        64      | VAE          | 5.78 | 5.89
        64      | L-VDAE       | 5.74 | 5.86
        128     | VAE          | 5.49 | 5.66
        128     | L-VDAE       | 5.40 | 5.58
        28 x 28 | L-VDAE *     | 5.76 | 6.18
        28 x 28 | VDAE: RESNET | 5.74 | 6.19
        28 x 28 | NICE **      | 4.18 | -
        28 x 28 | NICE         | 4.36 | -
        28 x 28 | REALNVP      | 1.06 | -
        28 x 28 | GLOW         | 1.05 | -
        28 x 28 | FFJORD       | 0.99 | -
        28 x 28 | I-RESNET     | 1.06 | -
    """,
    "table2": """
        16      | VAE          | 83.46 ± 0.18 | 87.17 ± 0.20
        16      | L-VDAE       | 82.68 ± 0.14 | 86.07 ± 0.15
        32      | VAE          | 82.96 ± 0.16 | 86.47 ± 0.23
        32      | L-VDAE       | 81.54 ± 0.24 | 84.81 ± 0.24
        64      | VAE          | 82.77 ± 0.20 | 86.41 ± 0.28
        64      | L-VDAE       | 81.49 ± 0.21 | 84.92 ± 0.25
        128     | VAE          | 82.99 ± 0.19 | 86.73 ± 0.26
        128     | L-VDAE       | 81.82 ± 0.18 | 85.39 ± 0.23
        28 x 28 | L-VDAE *     | 96.47 ± 0.23 | 116.94 ± 0.37
        28 x 28 | VDAE: RESNET | 92.03 ± 0.28 | 110.00 ± 0.36
    """,
}


@pytest.mark.parametrize("name", table_names())
def test_all_rows_are_there_in_order_with_their_digits(name: str) -> None:
    printed = [[cell.strip() for cell in line.split("|")] for line in PRINTED[name].strip().splitlines()]
    ours = [
        [row.latents, row.method, str(row.nll), str(row.neg_elbo) if row.neg_elbo else "-"]
        for row in load_table(name).rows
    ]
    assert ours == printed


@pytest.mark.parametrize("name", table_names())
def test_bold_is_the_best_of_its_group(name: str) -> None:
    rows = load_table(name).rows
    for score in ("nll", "neg_elbo"):
        for row in rows:
            rivals = [getattr(each, score).value for each in rows if each.latents == row.latents and each.neg_elbo]
            if row.neg_elbo:
                assert (score in row.bold) == (getattr(row, score).value == min(rivals))
            else:
                assert not row.bold


@pytest.mark.parametrize("name", table_names())
def test_measured_rows_have_a_cell_of_their_own_and_quoted_rows_none(name: str) -> None:
    table = load_table(name)
    cells = [table.cell_of(row) for row in table.rows]
    assert [cell is None for cell in cells] == [row.origin == "quoted" for row in table.rows]
    present = [cell for cell in cells if cell]
    assert len(set(present)) == len(present) == (11 if name == "table1" else 10)
    assert all(table.row_of(cell) is find_published(cell) for cell in present)


def test_what_is_said_of_all_rows() -> None:
    table = load_table("table1")
    assert (table.unit, table.runs, table.plus_minus) == ("bits/dim", 10, "standard deviation over 10 runs")
    assert {row.footnote for row in table.rows} == {None, "*", "**"} == {None, *table.footnotes}
    convolutional = {row.method for row in table.rows if row.convolutional}
    assert convolutional == {"REALNVP", "GLOW", "FFJORD", "I-RESNET"}
    assert all(row.nll.plus_minus is None for row in table.rows)
    assert all(row.nll.plus_minus for row in load_table("table2").rows)


def test_cells_that_are_not_in_the_paper_have_no_published_number() -> None:
    assert find_published(Cell("continuous-mnist", "vae", 17)) is None
    assert find_published(Cell("continuous-fashion-mnist", "vae", 16)) is None
    assert find_published(Cell("continuous-mnist", "vae", 16, (("decoder_output", "linear"),))) is None


def test_a_printed_value_keeps_its_trailing_zero() -> None:
    value = PrintedValue.parse("110.00 ± 0.36")
    assert (value.value, value.plus_minus, value.decimals, str(value)) == (110.0, 0.36, 2, "110.00 ± 0.36")
    with pytest.raises(ValueError, match="no printed value"):
        PrintedValue.parse("110")


def test_an_unknown_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'table2'"):
        load_table("tabel2")
