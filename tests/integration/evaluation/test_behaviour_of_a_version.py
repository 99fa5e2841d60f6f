"""`python -m ops.behaviour` asks a version that is really in the registry."""

from ops.behaviour import main
from pipelines.steps import retrain


def test_any_trained_version_is_asked_all_cases(ingest_night, capsys):
    ingest_night(1)
    manifest_uri = retrain.train(retrain.plan(retrain.take_snapshot()))

    code = main([manifest_uri.split("/")[-2]])

    printed = capsys.readouterr().out
    assert code == 0
    assert printed.count(" the limit of ") >= 12
    assert printed.count("golden set: ") > 1


def test_without_a_champion_there_is_one_line_that_says_so(stores, capsys):
    code = main([])

    assert code == 1
    assert "no champion yet" in capsys.readouterr().err


def test_a_version_that_does_not_exist_is_an_error(stores, capsys):
    code = main(["0" * 20])

    assert code == 1
    assert "0" * 20 in capsys.readouterr().err
