"""Six processes that validate six deliveries at once, over and over, never disturb each other."""

import multiprocessing
from typing import Any

import pytest

from pipelines.core.config import CONFIG_FOLDER, load
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.records.deliveries import Delivery
from pipelines.records.validations import Validation
from pipelines.validation import validate
from tests.support.hostile.fault_deliveries import BATCH_FAULTS, ROW_FAULTS, good_night
from tests.support.in_memory import InMemory
from tests.support.made.builders import as_parquet, landing_key
from tests.support.timing import HANG_SECONDS

pytestmark = pytest.mark.long

ROUNDS, PROCESSES = 20, 6
FAULTS = [*ROW_FAULTS[:: len(ROW_FAULTS) // 4][:4], *BATCH_FAULTS[5:7]]


def validated(number: int) -> Validation:
    """One delivery with the fault of this number, validated in a bucket of its own."""
    key = landing_key(f"{number}.parquet", night="2026-01-09")
    body = as_parquet(FAULTS[number].build(good_night()))
    sha256 = delivery_digest(parse_name(key), body).hexdigest()
    reviews = InMemory()
    reviews.put_once(f"deliveries/{sha256}/raw", body)
    delivery = Delivery(
        sha256=sha256, source="web", landing_key=key, file_format="parquet", is_gzipped=False,
        size_bytes=len(body), night="2026-01-09", raw_key=f"deliveries/{sha256}/raw",
    )  # fmt: skip
    return validate.validate(reviews, delivery, load(CONFIG_FOLDER / "default.toml"))[1]


def work(number: int, start: Any, answers: Any) -> None:
    for round_ in range(ROUNDS):
        start.wait(timeout=HANG_SECONDS)
        answers.put((round_, number, validated(number).digest()))


def test_six_validations_at_once_give_twenty_times_the_answers_that_each_gives_alone():
    # Airflow's workers are forked after the imports, too; importing once per process takes longer
    # than all rounds.
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(["great_expectations", "pandas", "sklearn", __name__])
    start, answers = fork.Barrier(PROCESSES), fork.Queue()
    workers = [
        fork.Process(target=work, args=(number, start, answers), daemon=True)
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()

    alone = [validated(number) for number in range(PROCESSES)]
    found = [answers.get(timeout=HANG_SECONDS) for _ in range(ROUNDS * PROCESSES)]
    for worker in workers:
        worker.join(timeout=HANG_SECONDS)

    expected = {
        (round_, number, one.digest())
        for round_ in range(ROUNDS)
        for number, one in enumerate(alone)
    }
    assert set(found) == expected
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    assert len({one.digest() for one in alone}) == PROCESSES
    assert {one.verdict for one in alone} == {"ACCEPTED", "PARTLY_ACCEPTED", "HELD"}
