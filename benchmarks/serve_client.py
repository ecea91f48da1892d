"""The client of ``benchmarks/serve.py``: one request after the other, with as little work of its own as can be.

python benchmarks/serve_client.py URL MODEL TOKEN TIMES CHUNKS
"""

import http.client
import json
import sys
from urllib.parse import urlsplit


def main(url: str, model: str, token: str, times: int, chunks: int) -> None:
    """Send requests; the model ``long`` is asked for a stream, which must have so many chunks."""
    where = urlsplit(url)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": model == "long"})
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection = http.client.HTTPConnection(where.netloc, timeout=60)
    for _ in range(times):
        connection.request("POST", where.path, body, headers)
        answer = connection.getresponse()
        received = answer.read()
        assert answer.status == 200, received
        assert model != "long" or received.count(b"data: ") == chunks + 3


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
