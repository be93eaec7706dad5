"""Fronts, figures and colours of rows that are made up."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from PIL import Image

from reporting.colours import PALETTE, SHAPES, colour, shape
from reporting.figures import draw, save
from reporting.pareto import GAINS, front, fronts, spots
from reporting.table import ONE_SEED_FOOTNOTE
from tests.made_rows import measure, published, result


def row(method, top1, params, seed=0, **changes):
    choices = {"dataset": "digits", "network": "mlp", "method": method}
    return result(seed, variant=f"{method}{params}", choices=choices, compressed=measure(top1, params), **changes)


# Two seeds each, but one of cur at 40.
ROWS = [
    *[row("svd", 89.0, 50, s) for s in (0, 1)], *[row("svd", 86.0, 10, s) for s in (0, 1)], row("cur", 88.0, 40),
    *[row("cur", 80.0, 10, s) for s in (0, 1)], row("reference", 90.0, 100), row("tt", 70.0, 5, status="failed: x"),
]  # fmt: skip


def test_the_front_has_what_no_other_beats():
    found = spots(ROWS, "params ratio")
    assert {(s.method, s.gain) for s in found} == {("svd", 2.0), ("svd", 10.0), ("cur", 2.5), ("cur", 10.0)}
    assert [(s.method, s.gain) for s in front(found)] == [("svd", 10.0), ("cur", 2.5), ("svd", 2.0)]


def test_hypervolumes_by_hand():
    table = fronts(ROWS)
    by_method = {cells[0].text: dict(zip(table.header, cells, strict=True)) for cells in table.rows}
    assert set(by_method) == {"svd", "cur"}
    # The corner is 5 points below the reference's 90 %: svd is 4 above it at 2 times, 1 at 10 times fewer.
    svd = 1 * math.log10(10) + 3 * math.log10(2)
    cell = by_method["svd"]["hypervolume: params ratio"]
    assert cell.mean.value == pytest.approx(svd)
    assert cell.is_best
    assert by_method["cur"]["hypervolume: params ratio"].mean.value == pytest.approx(3 * math.log10(2.5))
    assert by_method["cur"]["on the front: params ratio"].text == "1¹ of 2"
    assert by_method["svd"]["on the front: params ratio"].text == "2 of 2"
    assert table.footnotes == [ONE_SEED_FOOTNOTE]
    assert not any(by_method[m]["hypervolume: MACs ratio"].is_best for m in by_method), "nobody gained anything"


def test_a_front_of_single_seeds_is_surely_the_best_of_nothing():
    alone = [r for r in ROWS if r.seed == 0]
    assert not any(cell.is_best for row in fronts(alone).rows for cell in row)


def test_a_mean_of_one_seed_is_marked_in_the_figure():
    axes = draw(ROWS, "params ratio", "digits/mlp").axes[0]
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("¹", (2.5, 12.0))]
    whole = [r for r in ROWS if r.variant != "cur40"]
    assert not draw(whole, "params ratio", "digits/mlp").axes[0].texts


def test_equal_rows_draw_equal_bytes_and_other_rows_do_not(tmp_path):
    def drawn(rows, name):
        save(draw(rows, "params ratio", "digits/mlp"), tmp_path / name, "about")
        return (tmp_path / name).read_bytes()

    first = drawn(ROWS, "a.svg")
    assert first == drawn(list(ROWS), "b.svg")
    assert first != drawn(ROWS[1:], "c.svg")
    assert b"about" in first and b"svd" in first
    assert not re.search(rb"20\d\d-\d\d-\d\d", first), "no date"
    assert drawn(ROWS, "d.pdf")[:4] == b"%PDF"


@pytest.mark.parametrize("gain", GAINS)
def test_every_method_has_its_colour_in_the_picture(tmp_path, gain):
    rows = [row("svd", 89.0, 50), row("cur", 80.0, 10), row("reference", 90.0, 100)]
    save(draw(rows, gain, "digits/mlp"), tmp_path / "a.png")
    pixels = {tuple(p) for p in np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3).tolist()}
    for method in ("svd", "cur"):
        assert tuple(bytes.fromhex(colour(method)[1:])) in pixels
    assert tuple(bytes.fromhex(colour("reference")[1:])) not in pixels


def test_reported_rows_are_drawn_where_their_size_is_known():
    def xs(**known):
        experiment = published(top1_percent=88.0, **known)
        axes = draw(ROWS, "params ratio", "digits/mlp", [experiment]).axes[0]
        return [float(line.get_xdata()[0]) for line in axes.get_lines() if line.get_label() == "reported"]

    assert xs(params_ratio=4.0) == [4.0]
    assert xs(num_params=20.0) == [5.0], "of the reference's 100"
    assert xs() == xs(macs=3.0) == []


def test_the_line_of_the_front_promises_no_more_than_a_network_holds():
    """At any gain it is the least error among the networks that gain as much."""
    axes = draw(ROWS, "params ratio", "digits/mlp").axes[0]
    (line,) = [line for line in axes.get_lines() if line.get_label() == "front"]
    assert line.get_drawstyle() == "steps-post"
    xs, ys = line.get_data()
    found = spots(ROWS, "params ratio")
    for gain in (2.2, 3.0, 5.0, 9.9):
        start = max(place for place, x in enumerate(xs) if x >= gain)  # the step that begins to the right and goes left
        assert ys[start] == min(100 - spot.top1_percent for spot in found if spot.gain >= gain)


def test_a_network_without_an_error_is_in_the_picture():
    def scale_and_bottom(top1):
        axes = draw([row("svd", top1, 50), row("cur", 97.0, 40)], "params ratio", "digits/mlp").axes[0]
        return axes.get_yscale(), axes.get_ylim()[0]

    assert scale_and_bottom(100.0)[0] == "linear"
    assert scale_and_bottom(100.0)[1] <= 0.0
    assert scale_and_bottom(99.0)[0] == "log"


def test_no_error_is_above_100_percent():
    wide = [row("svd", top1, 50, seed) for seed, top1 in enumerate((10.0, 60.0, 98.0))]
    assert draw(wide, "params ratio", "digits/mlp").axes[0].get_ylim()[1] == 100.0


def test_nothing_compressed_is_refused():
    with pytest.raises(ValueError, match="digits/mlp: expected a compressed network that is ok, got none"):
        draw([row("reference", 90.0, 100)], "params ratio", "digits/mlp")


def test_methods_are_told_apart_and_look_alike_everywhere():
    from reporting.colours import _known

    looks = [(colour(method), shape(method)) for method in _known()]
    assert len(set(looks)) == len(looks) >= 20
    assert {colour("somebodys"), colour("else")} <= set(PALETTE)
    assert (colour("somebodys"), shape("somebodys")) == (colour("somebodys"), shape("somebodys"))
    assert shape("somebodys") in SHAPES


def test_references_of_other_recipes_have_lines_of_their_own():
    def with_recipe(epochs, top1):
        config = {"seed": 0, "schedule": {"reference": {"epochs": epochs}}}
        return row("svd", 80.0, 50 + epochs, config=config, reference=measure(top1))

    axes = draw([with_recipe(1, 85.0), with_recipe(9, 95.0)], "params ratio", "digits/mlp").axes[0]
    lines = [float(line.get_ydata()[0]) for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert sorted(lines) == [5.0, 15.0]
