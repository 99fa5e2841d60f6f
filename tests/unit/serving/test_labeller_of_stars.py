"""A champion of stars labels texts for the poison alarm by the side on which it sees them."""

from pipelines.serving.champion import Champion
from pipelines.serving.labeller import ChampionLabeller
from tests.support.made.made_searches import STARS
from tests.support.made.registry_builders import a_log_entry
from tests.support.made.served_builders import a_planned, model_of_stars


def test_good_texts_are_positive_and_bad_ones_are_not():
    manifest = a_planned(STARS)
    manifest.holdout_rows = 500
    labeller = ChampionLabeller(Champion(a_log_entry(1), manifest, model_of_stars()))

    good, middling, bad = labeller.positive_scores(
        ["superb moving brilliant", "decent average watchable", "dreadful awful boring"]
    )

    assert bad < 0.2 < middling < 0.8 < good
