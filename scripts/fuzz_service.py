#!/usr/bin/env python3
"""Fuzz the HTTP service with random requests and damaged uploads: no response may be 500.

AUDIT is a folder that `synthtrace audit` or `synthtrace demo` made; a service over a copy of its database is started and ended.
Half of the requests are made from the service's own OpenAPI (schemathesis): values that it allows, and values that it does not.
The other half are uploads: random bytes, random bytes behind the first bytes of every format, images with bytes changed, cut or
repeated. Exit code 1 where an answer is 500, is no JSON error, or the service does not live afterwards.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError

import hypothesis
import numpy as np
import schemathesis
from PIL import Image

from embeddings.files.temporary import temporary_folder
from query.flow import DATABASE

MAGIC = (
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"GIF89a",
    b"RIFF\x10\0\0\0WEBP",
    b"BM" + bytes(12) + b"\x28\0\0\0",
    bytes(128) + b"DICM",
    b"\x1f\x8b\x08",
    bytes(344) + b"n+1\0",
)
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP")


@contextmanager
def serving(audit: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Port and process of a service over a copy of the database, so that reviews are not the user's."""
    with temporary_folder() as folder:
        db = Path(shutil.copy(audit / DATABASE, folder))
        command = "from query.cli.main import main; main()"
        options = ["serve", str(audit / "generated"), "--db", str(db), "--port", "0"]
        with subprocess.Popen([sys.executable, "-c", command, *options], stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                line = process.stderr.readline()
                if "http://" not in line:
                    raise RuntimeError(line.strip())
                port = int(line.partition("127.0.0.1:")[2].partition("/")[0])
                while not ready(port):
                    time.sleep(0.2)
                yield port, process
            finally:
                process.terminate()


def ready(port: int) -> bool:
    """Whether the service answers everything."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False


def by_description(port: int, requests: int, seen: Counter[int], wrong: list[str]) -> None:
    """Requests that schemathesis makes of every route."""
    schema: Any = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    settings = hypothesis.settings(
        max_examples=max(1, requests // len(operations)),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    for operation in operations:
        for mode in schemathesis.GenerationMode:

            @hypothesis.settings(settings, max_examples=max(1, settings.max_examples // 2))
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                answer = case.call(timeout=60)
                judge(answer.status_code, answer.content, f"{case.method} {case.formatted_path}", seen, wrong)

            with suppress(hypothesis.errors.Unsatisfiable):  # where nothing is asked for, nothing can be asked wrongly
                ask()


def judge(status: int, body: bytes, asked: str, seen: Counter[int], wrong: list[str]) -> None:
    """Count an answer, and note one that should not be."""
    seen[status] += 1
    if status == 500 or (status >= 400 and not is_error(body, status)):
        wrong.append(f"{asked}: {status} {body[:200]!r}")


def is_error(body: bytes, status: int) -> bool:
    """Whether this is an error as all of them should be; a server's 400 to what is no HTTP at all is not the application's."""
    if body == b"Invalid HTTP request received.":
        return True
    try:
        return bool(json.loads(body)["error"]["status"] == status)
    except (ValueError, KeyError, TypeError):
        return False


def uploads(port: int, requests: int, chance: random.Random, seen: Counter[int], wrong: list[str]) -> None:
    """Images that are none, or nearly."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in range(requests):
        body = chance.randbytes(chance.randrange(2000)) if number % 2 else b""
        body = chance.choice(MAGIC) + body if number % 2 else damaged(chance)
        connection.request("POST", "/v1/search", body)
        answer = connection.getresponse()
        judge(answer.status, answer.read(), f"upload {number} of {len(body)} bytes", seen, wrong)


def damaged(chance: random.Random) -> bytes:
    """A small image of any format with bytes changed, cut off or repeated; sometimes whole."""
    side = chance.randrange(1, 60)
    pixels = np.frombuffer(chance.randbytes(side * side), np.uint8).reshape(side, side)
    file = BytesIO()
    Image.fromarray(pixels).save(file, chance.choice(FORMATS))
    body = bytearray(file.getvalue())
    for _ in range(chance.randrange(6)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    cut = chance.randrange(len(body) + 1)
    return bytes(body[:cut] if chance.random() < 0.3 else body + body[cut:] if chance.random() < 0.2 else body)


def main() -> int:
    """Parse, fuzz, print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audit", type=Path, help="folder that `synthtrace audit` or `synthtrace demo` made")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.requests < 2:
        parser.error("at least 2 requests are needed")
    if not (given.audit / DATABASE).exists():
        parser.error(f"{given.audit / DATABASE}: there is no such file")
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.gettempdir()
    seen: Counter[int] = Counter()
    wrong: list[str] = []
    with serving(given.audit) as (port, process):
        by_description(port, given.requests // 2, seen, wrong)
        uploads(port, given.requests - seen.total(), random.Random(given.seed), seen, wrong)  # routes without choices run out
        lives = process.poll() is None and ready(port)
    print(f"{sum(seen.values()):,} requests: " + ", ".join(f"{count:,} x {status}" for status, count in sorted(seen.items())))
    print("\n".join(wrong[:20]) or "no answer is wrong")
    print("the service lives" if lives else "the service does not live")
    return 0 if lives and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
