"""The command line as an executable that starts at once: it forks a process that has imported everything.

Importing torch takes seconds of every `sonolearn ...` that a test or a script starts. The executable that `Commands`
writes takes the same words, standard streams, folder and environment, and gives the same exit code; the command runs in
its process group, so that signals to the group reach both.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

CLIENT = """#!{python} -SE
import json, os, signal, socket, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)  # the command answers them
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps({{"words": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "group": os.getpgrp()}})
socket.send_fds(server, [len(asked.encode()).to_bytes(8, "big")], [0, 1, 2])
server.sendall(asked.encode())
code = int(server.recv(16) or 1)
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Commands:
    """The process that commands are forked from, and the executable `sonolearn` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Start it; it imports torch in the meantime."""
        # The address of a socket may have about 100 bytes: the folder of a test is soon longer.
        self.meeting = tempfile.TemporaryDirectory(prefix="sonolearn-")
        address = f"{self.meeting.name}/socket"
        self.executable = folder / "sonolearn"
        self.executable.write_text(CLIENT.format(python=sys.executable, address=address))
        self.executable.chmod(0o755)
        here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(address)
        listening.listen()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "commands", str(listening.fileno())], pass_fds=[listening.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": here},
        )  # fmt: skip
        listening.close()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.meeting.cleanup()


def serve(listening: socket.socket) -> None:
    """Fork a process for each request, which forks the command and waits for it."""
    import torch

    import sonolearn

    for module in pkgutil.walk_packages(sonolearn.__path__, "sonolearn."):
        if not module.name.endswith(("__main__", "ray")):
            importlib.import_module(module.name)
    torch.set_num_threads(1)
    while True:
        client, _ = listening.accept()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            length, streams, _, _ = socket.recv_fds(client, 8, 3)
            asked = b""
            while len(asked) < int.from_bytes(length, "big"):
                asked += client.recv(1 << 16)
            code = _wait(json.loads(asked), streams)
            with contextlib.suppress(BrokenPipeError):  # the client was killed
                client.sendall(str(code).encode())
            os._exit(0)
        client.close()


def _wait(request: dict[str, object], streams: list[int]) -> int:
    if pid := os.fork():
        for stream in streams:
            os.close(stream)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.setpgid(0, request["group"])  # type: ignore[arg-type]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os._exit(_perform(request))


def _perform(request: dict[str, object]) -> int:
    from sonolearn import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    os.chdir(request["cwd"])  # type: ignore[arg-type]
    code = 0
    try:
        cli.main(request["words"])  # type: ignore[arg-type]
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
