"""Two versions of a model with three classes side by side."""

from pipelines.gate.card.sentences import Judged
from pipelines.pages.views.compare import compared
from tests.support.made.judgement_builders import (
    a_decision_on,
    a_set_of_classes,
    an_evaluation,
    an_evaluation_of_classes,
    some_class_metrics,
)


def judged(evaluation):
    return Judged(a_decision_on(evaluation), evaluation)


def test_each_class_has_its_line_and_its_change():
    better = some_class_metrics(confusion=((900, 50, 50), (300, 1400, 300), (50, 150, 800)))
    one = judged(an_evaluation_of_classes())
    other = judged(an_evaluation_of_classes(holdout=a_set_of_classes(challenger=better)))

    lines = {line.name: line for line in compared(one, other)}

    poor = lines["holdout: recall poor"]
    assert (poor.one, poor.other, poor.change) == ("80.00%", "90.00%", "+10.00 points")
    assert not lines["holdout: recall great"].differs


def test_two_classes_have_the_lines_that_they_always_had():
    names = [line.name for line in compared(judged(an_evaluation()), judged(an_evaluation()))]

    first = names.index("holdout: accuracy")
    assert names[first : first + 7] == [
        "holdout: accuracy", "holdout: recall positive", "holdout: recall negative",
        "holdout: calibration error", "holdout: f1", "holdout: roc auc", "holdout: log loss",
    ]  # fmt: skip
