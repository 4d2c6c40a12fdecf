"""Command `serve`: start the HTTP service and the review page."""

import os
import signal
import socket
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import click

from embeddings.extras import installing
from query.cli.options import common_options, device_option
from query.cli.parameters import DATABASE, command, option, together
from query.cli.program import DONE, working
from query.inputs.reviews import READ
from query.text import name

TOKEN = "SYNTHTRACE_SERVE_TOKEN"
_NEEDED = ("fastapi", "uvicorn", "prometheus_client")


@command()
@click.argument("collection", type=click.Path(path_type=Path))
@option("--db", type=DATABASE, help="DuckDB file of runs; the service reads a copy.  [default: none, images are only looked up]")
@option("--host", default="127.0.0.1", help="Address to listen on; other than localhost needs a token.")
@option("--port", default=8300, type=click.IntRange(0, 65535), help="Port; 0 chooses a free one.")
@option(
    "--token-file", type=click.Path(path_type=Path), help=f"File that holds the access token.  [default: the token in ${TOKEN}]"
)
@option("--blinded", is_flag=True, help="Let readers label pairs without labels, scores, names and decisions.")
@option("--seed", type=click.IntRange(min=0), help="With --blinded: of the choice, order and sides of the pairs.  [default: 0]")
@option("--reader", metavar="NAME", help="With --blinded: the only reader.  [default: readers give their names on the page]")
@option("--pairs", type=click.IntRange(min=1), help=f"With --blinded: how many pairs are read.  [default: {READ}]")
@together(device_option, common_options)
def serve(
    collection: Path,
    db: Path | None,
    host: str,
    port: int,
    token_file: Path | None,
    blinded: bool,
    seed: int | None,
    reader: str | None,
    pairs: int | None,
    device: str,
) -> int:
    """Serve look-ups over HTTP, and with --db a run with a web page for reviewing pairs.

    Uploaded images are searched in COLLECTION, in one piece or in shards. With --db it holds the generated images of the latest
    run. Reviews are stored beside the database (results.duckdb: results.reviews.jsonl). The database may be written meanwhile:
    the service reloads it when it changes.

    Programs search with POST /v1/search (Authorization: Bearer TOKEN where there is a token, of 16 characters or more); the body
    is the image file. /readyz, /livez and, with the token, /metrics and /openapi.json say the rest. Ctrl-C or SIGTERM ends it.

    With --blinded, readers see pairs of pictures and nothing else: no labels, scores, names or decisions, nor the labels of other
    readers. Half of the pairs are the best ranked, half are drawn from the others; each reader has an order of its own. The
    command readers says how far they agree.

    \b
    Example:
      synthtrace serve audit/generated --db audit/synthtrace.duckdb
      synthtrace serve audit/generated --db audit/synthtrace.duckdb --blinded --seed 7
      synthtrace serve generated.collection
      curl --data-binary @slice.png 'http://127.0.0.1:8300/v1/search?k=3'
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise click.UsageError(f"serving needs more packages: {installing('serve')}")
    import uvicorn

    from indexer.sharded.joined import open_joined
    from query.database.store import Store
    from query.service.app import create_app
    from query.service.backend.memory import share_heaps
    from query.service.backend.reviews.blinded import Blinding
    from query.service.backend.service import Service
    from query.service.guard.access import Access, is_loopback
    from query.service.guard.connections import configured, room

    if not blinded and (seed is not None or reader is not None or pairs is not None):
        raise click.UsageError("--seed, --reader and --pairs are for --blinded")
    if blinded and db is None:
        raise click.UsageError("--blinded needs --db: readers label pairs of a run")
    if reader is not None and not reader.strip():
        raise click.UsageError("--reader: the name is empty")
    blinding = Blinding(seed or 0, pairs or READ, " ".join((reader or "").split())) if blinded else None
    share_heaps()
    token = _token(token_file)
    if token is None and not is_loopback(host):
        raise click.UsageError(f"{host} can be reached by others: give a token by --token-file or ${TOKEN}")
    if db is not None and not db.exists():
        Store.open(db, read_only=True)  # says what is missing
    generated = open_joined(collection)
    connections = room()
    with _listen(host, port) as listening, working() as report:
        where = generated.devices(device)
        with Service(generated, db, access=Access(host, token), device=where, say=report.say) as service:
            for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn ends by itself, and then raises what it was sent
                signal.signal(number, lambda *_: None)
            whom = "" if token else "; there is no token, so to everybody on this machine"
            report.say(f"serving {_address(host, listening.getsockname()[1])} until interrupted{whom}; {where.note}")
            if db is None:
                report.say("images are only looked up: runs, pictures and reviews need --db")
            if blinding:
                report.say(f"blinded reading with seed {blinding.seed}; labels go to {name(str(service.reviews.path))}")
            uvicorn.Server(configured(create_app(service, blinding), connections)).run([listening])
        report.say("stopped")
    return DONE


def _token(path: Path | None) -> str | None:
    """The token, from the file or the environment.

    Raises:
        click.UsageError: it is too short to keep anybody out, or no header can hold it.
    """
    from query.service.guard.access import SHORTEST

    if path is None:
        token = os.environ.get(TOKEN)
        where = f"${TOKEN}"
    else:
        token = path.read_bytes().partition(b"\n")[0].decode("latin-1").strip()
        where = str(path)
    if token is not None and not token.isascii():
        raise click.UsageError(f"{where}: the token must be of ASCII characters, else it cannot be sent in a header")
    if token is not None and len(token) < SHORTEST:
        raise click.UsageError(f"{where}: the token has {len(token)} characters, at least {SHORTEST} are needed")
    return token


def _listen(host: str, port: int) -> socket.socket:
    """A socket on the address.

    Raises:
        click.UsageError: it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as stack:
            # without a protocol asyncio would not set TCP_NODELAY: 40 ms an answer
            listening = stack.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()  # whoever reads the address may connect at once
            stack.pop_all()
    except OSError as error:
        raise click.UsageError(f"{host}, port {port}: {error.strerror or error}") from error
    return listening


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
