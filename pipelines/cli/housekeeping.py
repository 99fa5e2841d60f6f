"""The command that deletes what nothing needs any more."""

from __future__ import annotations

from collections import Counter

from pipelines.cli.output import (
    Actor,
    AsJson,
    ForReal,
    in_shell,
    print_json,
    print_note,
    reports_errors,
)
from pipelines.cli.tables import print_table
from pipelines.steps import housekeeping as steps


@reports_errors
def housekeeping(
    is_for_real: ForReal = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """List what nothing needs any more; with --yes, record and delete it.

    [retention] of the configuration says how long, and how many, are kept. Never deleted is what
    the champion log, the ledger, a snapshot of a kept version or an open question names.
    """
    uri = steps.tidy_up(in_shell(actor)) if is_for_real else None
    objects = (
        steps.plan_housekeeping()
        if not is_for_real
        else list(steps.read_housekeeping(uri).objects)
        if uri
        else []
    )
    if as_json:
        print_json({
            "is_done": is_for_real, "record": uri,
            "objects": [each.model_dump(mode="json") for each in objects],
        })  # fmt: skip
        return
    count, size = Counter[str](), Counter[str]()
    for each in objects:
        count[each.why] += 1
        size[each.why] += each.size_bytes
    rows = [(f"{count[why]:,}", f"{size[why] / 1e6:,.1f}", why) for why in sorted(count)]
    print_table(
        "Deleted" if is_for_real else "Would be deleted", ("objects", "MB", "why"), rows,
        if_empty="Everything is still needed.",
    )  # fmt: skip
    if objects and not is_for_real:
        print_note("Nothing was deleted. To delete it: python -m pipelines housekeeping --yes")
