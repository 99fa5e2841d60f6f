"""What a container in MinIO's place runs: Ceph's gateway, with the root user of MinIO's variables.

``python3 -m ops.compose.gateway server FOLDER --console-address ADDRESS``, as MinIO is started.
There is no console.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ops.services.processes import Processes
from ops.services.real_s3 import CephGateway

PORT = 9000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["server"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--console-address")
    folder: Path = parser.parse_args().folder / "ceph"
    folder.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, _end)
    gateway = CephGateway(
        folder,
        port=PORT,
        access_key=os.environ["MINIO_ROOT_USER"],
        secret_key=os.environ["MINIO_ROOT_PASSWORD"],
    )
    gateway.host = "0.0.0.0"  # noqa: S104 - of a container
    processes = Processes(Path("/tmp"))  # noqa: S108 - of a container
    try:
        gateway.start(processes)
        while True:
            processes.check_alive()
            time.sleep(1)
    finally:
        processes.stop()


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    main()
