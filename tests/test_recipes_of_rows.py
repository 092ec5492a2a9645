"""Recipes are those that the bundled rows were trained with; rows that are compared differ in what they compare alone."""

import json
import re
from pathlib import Path

import pytest

from sfi_zoo.hub.bundled import BUNDLED
from sfi_zoo.training.recipe import read_recipe, recipe_from

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
ROWS = sorted(path.parent.name for path in BUNDLED.glob("*/recipe.json"))
SECOND_STAGE = {  # recipe -> tables in which it may differ from the others; all differ in [model] and in where filters start
    "convtasnet_plain": (),
    "convtasnet_naf_td": (),
    "convtasnet_naf_fd": (),
    "convtasnet_td_mgf": (),
    "convtasnet_fd_mgf": (),
    "convtasnet_mpgtf": (),
    "convtasnet_mgf_native": (),
    "convtasnet_mgf_band": ("bandwidth",),
    "convtasnet_mgf_band_alive": ("bandwidth",),
    "convtasnet_mgf_lee": ("loss",),
}


def plain(recipe):
    """As JSON has it: lists for tuples."""
    return json.loads(json.dumps(recipe.as_dict()))


@pytest.mark.parametrize("row", ROWS)
def test_the_recipe_that_the_card_names_is_that_of_the_row(row):
    """Keys that are younger than the row have their defaults."""
    card = (BUNDLED / row / "README.md").read_text()
    name = re.search(r"sfi-zoo train recipes/(\w+)\.toml", card)[1]
    kept = json.loads((BUNDLED / row / "recipe.json").read_text())
    assert plain(recipe_from(kept)) == plain(read_recipe(RECIPES / f"{name}.toml"))


@pytest.mark.parametrize("name", sorted(SECOND_STAGE))
def test_second_stages_differ_in_what_they_compare_alone(name):
    tables = plain(read_recipe(RECIPES / f"{name}.toml"))
    shared = plain(read_recipe(RECIPES / "convtasnet_row.toml"))
    for table in ("model", *SECOND_STAGE[name]):
        del tables[table], shared[table]
    del tables["train"]["filters_like"], shared["train"]["filters_like"]
    assert tables == shared


@pytest.mark.parametrize(
    "name", sorted({path.stem for path in RECIPES.glob("*.toml")} - {"music4_filterbank"})
)
def test_a_recipe_goes_on_from_a_row_or_a_run(name):
    start = read_recipe(RECIPES / f"{name}.toml").train.start
    assert not start or start in ROWS or start.startswith("runs/")
