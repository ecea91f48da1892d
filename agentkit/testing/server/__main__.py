"""``python -m agentkit.testing.server FAULT``: a server that plays one fault for every request, for any client."""

from __future__ import annotations

import argparse
import itertools
import ssl
import sys
import threading
from contextlib import suppress

from agentkit.testing.server import FAULTS, Server


def main() -> None:
    """Read the arguments, print the address, and serve until stopped."""
    table = "\n".join(f"  {each.number:>2}  {name:25} {each.sentence}" for name, each in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m agentkit.testing.server",
        description="Play one fault for every request on loopback, until Ctrl-C.",
        epilog=f"The faults:\n\n{table}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("fault", choices=FAULTS, metavar="FAULT")
    parser.add_argument("--port", type=int, default=0, help="the port; any that is free by default")
    parser.add_argument("--seconds", type=float, default=3600, help="stop after so long (default %(default)s)")
    parser.add_argument("--certificate", help="a PEM file with a certificate and its key, for https")
    options = parser.parse_args()
    tls = None
    if options.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.certificate)
    with Server(itertools.repeat(FAULTS[options.fault]), tls=tls, port=options.port) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait(options.seconds)


if __name__ == "__main__":
    main()
