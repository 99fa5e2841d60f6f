"""`make local` keeps to one database of Airflow's, whose password is in no file of its own."""

import pytest

from ops.local import check_database
from ops.services.processes import StackError

OWN = "postgresql+psycopg2://loop:hunter2@localhost/airflow"


def test_the_same_database_again_is_fine_and_its_password_is_kept_nowhere(tmp_path):
    check_database(tmp_path, OWN)
    check_database(tmp_path, OWN.replace("hunter2", "another"))

    assert [path.name for path in tmp_path.iterdir()] == ["database.txt"]
    assert "hunter2" not in (tmp_path / "database.txt").read_text()


@pytest.mark.parametrize(("first", "then"), [("", OWN), (OWN, ""), (OWN, OWN + "2")])
def test_another_database_than_at_the_first_start_is_refused(tmp_path, first, then):
    check_database(tmp_path, first)

    with pytest.raises(StackError, match="give the former DATABASE") as refused:
        check_database(tmp_path, then)

    assert "hunter2" not in str(refused.value)
    check_database(tmp_path, first)


def test_what_is_no_address_is_refused_by_name(tmp_path):
    with pytest.raises(StackError, match="DATABASE is not an address"):
        check_database(tmp_path, "my secret")

    assert list(tmp_path.iterdir()) == []
