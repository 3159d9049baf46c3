"""The arrangement of tiles, as the page's own module computes it."""

from itertools import combinations

import pytest

ARRANGE = """
async ([counts, width, height, spotlight]) => {
  const { arrange } = await import("/ui/arrangement.js");
  return counts.map((count) => arrange(count, width, height, spotlight));
}
"""
SIZES = ((1240, 640), (2400, 900), (370, 700), (800, 270))
"""A laptop, a wide screen, a phone upright and on its side."""
PEOPLE = list(range(1, 21))


def overlap(one, other):
    return (
        min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"]) > 0.01
        and min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"]) > 0.01
    )


@pytest.mark.parametrize("spotlight", [False, True])
def test_tiles_fill_windows_of_all_shapes_without_overlap(open_tab, spotlight):
    tab = open_tab()
    for width, height in SIZES:
        arrangements = tab.evaluate(ARRANGE, [PEOPLE, width, height, spotlight])
        for people, arrangement in zip(PEOPLE, arrangements, strict=True):
            check(arrangement, people, width, height)


def check(arrangement, people, width, height):
    tiles = arrangement["rectangles"]
    assert len(tiles) == people
    assert not any(overlap(one, other) for one, other in combinations(tiles, 2))
    for tile in tiles:
        assert tile["x"] >= -0.01
        assert tile["x"] + tile["width"] <= width + 0.01
        assert tile["y"] >= -0.01
        assert tile["y"] + tile["height"] <= arrangement["height"] + 0.01
        assert tile["width"] >= 96
    if arrangement["height"] == height:
        assert sum(tile["width"] * tile["height"] for tile in tiles) > 0.4 * width * height


def test_nobody_needs_no_tiles(open_tab):
    assert open_tab().evaluate(ARRANGE, [[0], 800, 600, False]) == [{"rectangles": [], "height": 0}]


def test_one_person_is_shown_as_large_as_16_to_9_allows(open_tab):
    [arrangement] = open_tab().evaluate(ARRANGE, [[1], 1600, 800, False])
    [tile] = arrangement["rectangles"]
    assert tile["height"] == pytest.approx(800)
    assert tile["width"] == pytest.approx(800 * 16 / 9)
