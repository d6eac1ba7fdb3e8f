"""A `python` for jobs under test: `python -m stages...` runs in a process forked by `tests/jobs.py`, all else in Python.

Imports little, as it starts anew for each job. Needs `TAGMASK_JOBS`, the server's socket, and `TAGMASK_PYTHON`.
"""

import json
import os
import signal
import socket
import sys


def main() -> None:
    words = sys.argv[1:]
    if words[:1] != ["-m"] or not words[1:] or words[1].partition(".")[0] != "stages":
        os.execv(os.environ["TAGMASK_PYTHON"], ["python", *words])
    folder = os.getcwd()  # noqa: PTH109 - pathlib takes longer to import than all else here
    asked = {"module": words[1], "words": words[2:], "folder": folder, "variables": dict(os.environ)}
    text = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ["TAGMASK_JOBS"])
        socket.send_fds(server, [len(text).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(text)
        answer = server.recv(4)
    if not answer:
        sys.exit("the server of jobs is gone")
    status = int.from_bytes(answer, "big", signed=True)
    if status < 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


main()
