"""``python -m agentkit.testing.server FAULT``: a server that plays one fault for every request, for any client."""

from __future__ import annotations

import argparse
import itertools
import ssl
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from agentkit.testing.server import FAULTS, Fault, Server, fault


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, print the address, and serve until stopped."""
    parser = _parser()
    options = parser.parse_args(arguments)
    played: Fault = options.fault
    if played.name == "tls_cut" and not options.certificate:
        parser.error("tls_cut is about https: add --certificate FILE")
    server = Server(itertools.repeat(played), tls=_tls(parser, options.certificate), port=options.port)
    with ExitStack() as running:
        try:
            running.enter_context(server)
        except OSError as problem:
            parser.error(
                f"cannot listen at port {options.port}: {problem.strerror}; without --port a free one is taken"
            )
        sys.stderr.write(f"{played.name}: {played.sentence} Ctrl-C ends it. The address for clients:\n")
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait(options.seconds)


def _parser() -> argparse.ArgumentParser:
    table = "\n".join(f"  {each.number:>2}  {name:25} {each.sentence}" for name, each in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m agentkit.testing.server",
        description="Play one fault for every request on loopback, until Ctrl-C.",
        epilog=f"The faults:\n\n{table}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("fault", type=_fault, metavar="FAULT", help="the name of a fault; they are listed below")
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="the port; any that is free by default")
    parser.add_argument("--seconds", type=_seconds, default=3600, metavar="N", help="stop after so long (%(default)s)")
    parser.add_argument("--certificate", metavar="FILE", help="a PEM file with a certificate and its key, for https")
    return parser


def _fault(name: str) -> Fault:
    try:
        return fault(name)
    except KeyError as problem:
        raise argparse.ArgumentTypeError(f"{problem.args[0]}; --help lists all") from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= threading.TIMEOUT_MAX:
            return float(text)
    raise argparse.ArgumentTypeError(f"give a number of seconds above 0, not {text!r}")


def _tls(parser: argparse.ArgumentParser, certificate: str | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        tls.load_cert_chain(certificate)
    except OSError as problem:  # also what OpenSSL cannot read
        why = "it holds no certificate with its key" if isinstance(problem, ssl.SSLError) else problem.strerror
        parser.error(f"cannot use the certificate {certificate!r}: {why}")
    return tls


if __name__ == "__main__":
    main()
