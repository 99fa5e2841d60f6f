"""Take each safeguard away, one at a time, and see a test fail for want of it.

    python -m ops.safeguards [--only NAME] [--table]

A safeguard that no test misses is one that the next change may lose. Each is a line or two of the
code; it is changed in a copy of the project, never in the project itself, so nothing is left to
restore, also after Ctrl-C. Ends with 1 if a test passes without its safeguard.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
COPIED = ("pipelines", "plugins", "dags", "config", "ops", "tests", "benchmarks", "docs")
MOST_SECONDS = 900.0
UNIT, INTEGRATION, FAULTS = "tests/unit", "tests/integration", "tests/faults"
ATTACKS = "tests/integration/registry/test_attacks.py"


@dataclass(frozen=True)
class Safeguard:
    """What is guarded, the lines that do it, what stands in their place, and who misses them."""

    name: str
    guards: str
    module: str
    lines: str
    instead: str
    test: str


SAFEGUARDS = (
    Safeguard(
        "signature", "nobody without the key changes a record",
        "pipelines/core/store/signing.py",
        '        key.verify(bytes.fromhex(seal["signature"]), vouched)\n',
        "        key.public_bytes_raw()\n",
        f"{UNIT}/core/store/test_signing.py::test_no_bit_of_sealed_bytes_can_be_changed",
    ),
    Safeguard(
        "trusted keys", "a stranger's key counts for nothing",
        "pipelines/core/store/signing.py",
        "    if key_id not in trusted:\n        raise SignatureError(",
        "    if False:\n        raise SignatureError(",
        f"{UNIT}/core/store/test_signing.py::test_a_stranger_is_not_believed_and_the_message_names_the_keys",
    ),
    Safeguard(
        "kind and place", "a valid record in another place is none",
        "pipelines/core/store/signing.py",
        '    if (seal["kind"], seal["place"]) != (kind, place):\n',
        '    kind, place = seal["kind"], seal["place"]\n    if False:\n',
        f"{UNIT}/core/store/test_signing.py::test_a_seal_is_for_one_kind_of_thing_and_one_place",
    ),
    Safeguard(
        "own key", "a record's fields make the key that it lies under",
        "pipelines/core/store/sealed.py", "    if record.object_key != key:\n", "    if False:\n",
        f"{UNIT}/core/store/test_signing.py::"
        "test_a_record_that_makes_another_key_is_refused_although_it_is_sealed_for_this_one",
    ),
    Safeguard(
        "configured code", "no record chooses which code runs",
        "pipelines/training/candidates.py",
        "        if canonical_json(configured) != canonical_json(planned):\n",
        "        if False:\n",
        f"{ATTACKS}::test_code_that_the_configuration_does_not_name_is_not_run_whoever_signed_the_"
        "plan",
    ),
    Safeguard(
        "policy in force", "a decision under old rules is none under stricter ones",
        "pipelines/registry/promotion.py", "    if decision.policy != policy:\n", "    if False:\n",
        f"{ATTACKS}::test_a_decision_under_old_rules_is_none_under_stricter_ones",
    ),
    Safeguard(
        "signed caches", "nobody chooses which features are learned",
        "pipelines/core/store/sealed.py",
        "        return signing.unseal(data, **sealed, keyring=self.keyring)\n",
        '        return memoryview(data).cast("B")[data.index(b"\\n") + 1 :]\n',
        f"{UNIT}/features/test_fingerprint_cache.py::"
        "test_fingerprints_that_somebody_without_the_key_put_there_are_not_learned",
    ),
    Safeguard(
        "size of caches", "nobody without the key makes a task take much memory",
        "pipelines/core/store/sealed.py",
        "            data = self.get(key, max_bytes=usual_bytes)\n",
        "            data = self.get(key)\n",
        f"{UNIT}/core/store/test_cached.py::"
        "test_a_large_entry_is_proven_piece_by_piece_before_it_is_held",
    ),
    Safeguard(
        "covered card", "a person approves what was drawn, nothing else",
        "pipelines/gate/card/card.py", "    if actual != expected:\n", "    if False:\n",
        f"{ATTACKS}::test_nobody_reads_a_card_or_a_plot_that_was_changed",
    ),
    Safeguard(
        "nothing lost", "an entry that was taken away is missed",
        "pipelines/intake/snapshot.py", "    if lost:\n", "    if False:\n",
        f"{ATTACKS}::"
        "test_an_outcome_that_was_deleted_is_missed_before_anything_is_learned_or_judged",
    ),
    Safeguard(
        "hint ahead", "a log that was cut back has no champion",
        "pipelines/registry/champion_log.py",
        "        if announced > newest:\n", "        if False:\n",
        f"{ATTACKS}::test_a_log_that_was_cut_back_has_no_champion",
    ),
    Safeguard(
        "decisions ahead", "nothing is added to a log that was cut back",
        "pipelines/registry/registry.py", "            if generation > newest:\n",
        "            if False:\n",
        f"{ATTACKS}::test_nothing_is_added_to_a_log_that_decisions_are_ahead_of",
    ),
    Safeguard(
        "memory elsewhere", "buckets that were put back are noticed",
        "pipelines/registry/registry.py", "        if at_least > newest:\n", "        if False:\n",
        "tests/dags/test_succession.py::"
        "test_a_bucket_that_was_put_back_to_an_older_state_is_noticed",
    ),
    Safeguard(
        "no step back", "a consumer never goes back to an older champion by itself",
        "pipelines/serving/champion.py",
        "    if before.model_name == entry.model_name and before.generation > entry.generation:\n",
        "    if False:\n",
        f"{ATTACKS}::test_a_consumer_takes_no_step_back",
    ),
    Safeguard(
        "read receipts", "the name of an object proves nothing",
        "pipelines/intake/landing.py", "        rolled.record(info, Receipt)\n",
        "        pass\n",
        f"{ATTACKS}::test_no_planted_receipt_keeps_a_file_from_being_due",
    ),
    Safeguard(
        "whole history", "no delivery is judged by less than there was",
        "pipelines/validation/history.py", "    every = standings.every(reviews)\n",
        "    every = standings.every(reviews, skips_torn=True)\n",
        f"{INTEGRATION}/intake/test_ingest.py::"
        "test_nothing_is_judged_by_a_ledger_of_which_an_entry_is_not_ours",
    ),
    Safeguard(
        "proof of a listing", "a login page is not an empty log",
        "pipelines/core/store/bucket.py",
        "        return answers.checked_page(reply, bucket=self.name, prefix=prefix, "
        "after=after)\n",
        "        lines = [\n"
        '            ObjectInfo(one["Key"], one["Size"], one["ETag"].strip(\'"\'))\n'
        '            for one in reply.get("Contents", ())\n'
        "        ]\n"
        '        return answers.Page(lines, reply.get("NextContinuationToken"), None)\n',
        f"{INTEGRATION}/core/test_store.py::test_what_is_no_answer_is_never_taken_for_one",
    ),
    Safeguard(
        "proof of bytes", "one wrong byte on the way is noticed",
        "pipelines/core/store/bucket.py",
        "        answers.check_bytes(head, len(data), answers.digest_of(data))\n", "",
        f"{INTEGRATION}/core/test_store.py::test_what_is_no_answer_is_never_taken_for_one",
    ),
    Safeguard(
        "deadline", "a drip of bytes does not hold a night up",
        "pipelines/core/store/calls.py", "            limits.deadline_seconds, bytes_per_second",
        "            3600.0, bytes_per_second",
        f"{INTEGRATION}/core/test_store.py::test_an_answer_that_drips_in_is_given_up_at_the_deadline",
    ),
    Safeguard(
        "one delivery's failure", "one bad delivery never stops a night",
        "pipelines/cli/ingest.py",
        "    except Exception as error:  # noqa: BLE001 - reported, and due again\n",
        "    except LoopError as error:\n",
        f"{INTEGRATION}/intake/test_nights.py::"
        "test_what_one_delivery_raises_is_its_failure_and_the_others_count",
    ),
    Safeguard(
        "empty environment", "who decodes a delivery holds no key",
        "pipelines/core/apart.py", "            env=bare_process.ENVIRONMENT,\n", "",
        f"{FAULTS}/test_decoder.py::test_it_has_no_variable_that_is_not_harmless",
    ),
    Safeguard(
        "memory bound", "no file takes more memory than there may be",
        "pipelines/core/bare_process.py", "        (resource.RLIMIT_AS, address_bytes),\n", "",
        f"{FAULTS}/test_decoder.py::test_more_memory_than_the_limit_holds_the_delivery",
    ),
    Safeguard(
        "the store's clock", "a machine that is far ahead dates nothing",
        "pipelines/core/store/clock.py", "    return store_time\n", "    return machine_time\n",
        f"{INTEGRATION}/core/test_clocks.py::"
        "test_promotion_rollback_release_and_pin_are_dated_by_the_store",
    ),
    Safeguard(
        "no pause", "who is on call cannot switch the loop off",
        "plugins/on_call.py", "None if is_the_dag_itself else details", "details",
        "tests/dags/test_on_call.py::"
        "test_who_is_on_call_answers_retries_and_starts_what_mends_and_nothing_else",
    ),
    Safeguard(
        "dry run", "a dry run changes nothing, whoever marks its tasks",
        "plugins/loop_defaults.py", 'if get_current_context()["params"]["dry_run"]:', "if False:",
        "tests/dags/test_runs.py::"
        "test_a_dry_run_changes_nothing_although_somebody_marks_the_task_that_asks_as_successful",
    ),
)  # fmt: skip


def missing(one: Safeguard, project: Path = PROJECT) -> str:
    """Why a safeguard cannot be taken away; empty where it can."""
    found = (project / one.module).read_text(encoding="utf-8").count(one.lines)
    return "" if found == 1 else f"its lines are {found} times in {one.module}, not once"


def try_without(one: Safeguard) -> str:
    """Run its test on a copy without it; returns what is wrong, or the empty text."""
    if complaint := missing(one):
        return complaint
    with tempfile.TemporaryDirectory(prefix="loop-safeguards-") as folder:
        copy = _copied(Path(folder) / "project")
        module = copy / one.module
        text = module.read_text(encoding="utf-8")
        module.write_text(text.replace(one.lines, one.instead), encoding="utf-8")
        return _verdict(_pytest(copy, one.test))


def _copied(target: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__", "results")
    for name in COPIED:
        shutil.copytree(PROJECT / name, target / name, ignore=ignore)
    for file in PROJECT.iterdir():
        if file.is_file():
            shutil.copy(file, target / file.name)
    return target


def _pytest(project: Path, test: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(  # noqa: S603
        command, cwd=project, env=environment, capture_output=True, text=True,
        timeout=MOST_SECONDS, check=False,
    )  # fmt: skip


def _verdict(reply: subprocess.CompletedProcess[str]) -> str:
    """A test must fail: passing, not being found, or breaking off says nothing of the safeguard."""
    last = reply.stdout.strip().splitlines()[-1:] or [""]
    if reply.returncode == 1 and " failed" in last[0]:
        return ""
    return f"its test did not fail: {last[0] or reply.stderr.strip()[-300:]}"


def as_table(rows: Sequence[Safeguard]) -> str:
    """The safeguards as Markdown, in their order."""
    lines = [
        "| safeguard | what it is for | where | the test that misses it |",
        "|---|---|---|---|",
    ]
    lines += [f"| {one.name} | {one.guards} | `{one.module}` | `{one.test}` |" for one in rows]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ops.safeguards", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--only", help="the name of one safeguard")
    parser.add_argument("--table", action="store_true", help="print the table, try nothing")
    chosen = parser.parse_args(arguments)
    rows = [one for one in SAFEGUARDS if chosen.only in {None, one.name}]
    if not rows:
        parser.error(f"there is no safeguard {chosen.only!r}")
    if chosen.table:
        sys.stdout.write(as_table(rows))
        return 0
    failed = 0
    for number, one in enumerate(rows, start=1):
        complaint = try_without(one)
        failed += bool(complaint)
        said = complaint or "its test fails without it"
        sys.stderr.write(f"{number:2} of {len(rows)}  {one.name:24} {said}\n")
    sys.stdout.write(as_table(rows))
    sys.stderr.write(f"safeguards: {len(rows) - failed} of {len(rows)} are missed by their test\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
