"""Programs that begin with everything imported.

The official conformance suite starts a client for each of its scenarios, all at once. An interpreter that imports the
SDK needs two seconds of CPU; a process that is forked from one which has imported it needs none.

``python preloaded.py SOCKET MODULE...`` imports the modules and waits. ``python -S -E preloaded.py SOCKET ARGUMENT...``
runs ``main(ARGUMENT...)`` of the first module in a process of its own, with the standard streams and the environment of
the caller, and ends as that process ends.
"""

import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any


def serve(path: str, modules: Sequence[str]) -> None:
    """Wait for programs, and fork a process for each."""
    main: Callable[..., Any] = [importlib.import_module(each) for each in reversed(modules)][-1].main
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(100)
        print("ready", flush=True)  # noqa: T201 - for who started it
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                be(main, connection)
            connection.close()


def be(main: Callable[..., Any], connection: socket.socket) -> None:
    """Be the program, and report how it ends."""
    sent, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    arguments, environment = json.loads(sent)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(environment)
    status = 1
    try:
        main(*arguments)
        status = 0
    except BaseException:  # noqa: BLE001 - as an interpreter ends
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(bytes([status]))
        os._exit(status)


def start(path: str, arguments: Sequence[str]) -> int:
    """Have the program run; returns its exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [json.dumps([arguments, dict(os.environ)]).encode()], [0, 1, 2])
        return (connection.recv(1) or b"\x01")[0]


if __name__ == "__main__":
    if sys.flags.no_site:
        sys.exit(start(sys.argv[1], sys.argv[2:]))
    serve(sys.argv[1], sys.argv[2:])
