"""Load a model file and score texts with it, in a process without privileges.

Runs as a child of `evaluation.verify`, in a `core.bare_process`. Reads one JSON object
from standard input, writes one to standard output.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from pipelines.core.bare_process import give_up_everything

ATTEMPTS = 3  # of scoring each text; the fastest counts


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    give_up_everything(
        address_bytes=request["max_address_bytes"],
        cpu_seconds=request["max_cpu_seconds"],
        readable=[request["model_file"]],
    )
    sys.stdout.write(json.dumps(answer(request["model_file"], request["texts"])))


def answer(model_file: str, texts: list[str]) -> dict[str, Any]:
    """Load the model with the allow-list and score each text alone, as a service does.

    Returns
    -------
    answer : dict
        ``probabilities`` in [0, 1] per text, one or one per class; ``cpu_milliseconds`` per text,
        the least of a few attempts, so that neither warming up nor other programs count;
        ``load_seconds``; ``peak_bytes`` of resident memory.
    """
    from pathlib import Path

    from pipelines.models.artefacts import load_model
    from pipelines.models.prediction import probabilities

    blob = Path(model_file).read_bytes()
    started = time.perf_counter()
    model = load_model(blob)
    load_seconds = time.perf_counter() - started
    answers, cpu_seconds = [], []
    for text in texts:
        attempts = []
        for _ in range(ATTEMPTS):
            before = time.thread_time()  # a limit on processor time makes process_time coarse
            answer_to_it = probabilities(model, [text])[0].tolist()
            attempts.append(time.thread_time() - before)
        answers.append(answer_to_it)
        cpu_seconds.append(min(attempts))
    return {
        "probabilities": answers,
        "cpu_milliseconds": [1000.0 * seconds for seconds in cpu_seconds],
        "load_seconds": load_seconds,
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """Peak resident memory of this program.

    Not ``ru_maxrss``, which starts at what the parent used when it started this process.
    """
    from pathlib import Path

    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kibibytes) * 1024


if __name__ == "__main__":
    main()
