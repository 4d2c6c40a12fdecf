"""Output of `info`: the content of a collection or a database."""

from pathlib import Path
from typing import Any

from indexer.collection import Collection
from indexer.manifest import NAME as MANIFEST
from indexer.manifest import CollectionError
from query.cli.inputs import failures
from query.text import many, name, table


def collection_info(collection: Collection) -> dict[str, Any]:
    """JSON-able facts about a collection, its views with their notes."""
    manifest = collection.manifest
    files = [collection.folder / name for name in manifest.files]
    facts = {
        "collection": str(collection.folder),
        "source": manifest.source,
        "images": manifest.images,
        "failed": manifest.failed,
        "ignored": manifest.ignored,
        "mirrored": manifest.mirrored,
        "bytes": sum(path.stat().st_size for path in files if path.exists()),
        "decoding": dict(manifest.decoding),
        "sample": dict(manifest.sample),
        "versions": dict(manifest.versions),
    }
    views = [
        {
            "view": name,
            "dim": entry.spec.dim,
            "metric": str(entry.spec.metric),
            "index": entry.factory,
            "recall": entry.recall,
            "precision": entry.precision,
            "options": dict(entry.options),
            "fingerprint": entry.spec.fingerprint,
            "note": entry.note,
        }
        for name, entry in manifest.views.items()
    ]
    failed = [{"path": path, "reason": reason} for path, reason in failures(collection)] if manifest.failed else []
    return facts | {"views": views, "failures": failed}


def collection_text(facts: dict[str, Any]) -> str:
    """The same for people."""
    megabytes = f"{facts['bytes'] / 1e6:,.1f} MB"
    mirrored = ", flipped left to right" if facts["mirrored"] else ""
    aside = f", {many(facts['ignored'], 'other file')} left aside" if facts["ignored"] else ""
    failed = f"{many(facts['failed'], 'file')} that could not be read"
    counts = f"{many(facts['images'], 'image')}{mirrored}, {failed}{aside}; {megabytes}"
    columns = ("view", "dim", "metric", "index", "recall", "precision", "fingerprint")
    short = [{**view, "fingerprint": view["fingerprint"][:12]} for view in facts["views"]]
    views = table(columns, [[view[column] for column in columns] for view in short])
    notes = [f"{view['view']}: {view['note']}" for view in facts["views"] if view["note"]]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    head = [f"collection {name(facts['collection'])}", f"of {name(facts['source'])}: {counts}"]
    return "\n".join([*head, "", views, *notes, "", f"made with {versions}"])


def damages(folder: Path) -> list[str]:
    """One line for each damaged file of a collection.

    Raises:
        CollectionError: the folder is no collection, or an unfinished one.
    """
    try:
        return Collection(folder).check()
    except CollectionError as error:
        if not (folder / MANIFEST).exists():
            raise
        return [str(error)]


def database_info(path: Path) -> dict[str, Any]:
    """JSON-able facts about a database: its runs and how many rows each table has.

    Raises:
        StoreError: it is no synthtrace database, or in use.
    """
    from query.database.store import Store

    with Store.open(path, read_only=True) as store:
        runs = store.analyse("runs").to_pylist()
        names = store.sql("SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY 1").column(0).to_pylist()
        quoted = {name: name.replace('"', '""') for name in names}
        rows = {name: store.sql(f'SELECT count(*) FROM "{quoted[name]}"').column(0)[0].as_py() for name in names}
    for run in runs:
        run["created"] = run["created"].isoformat(timespec="seconds")
    return {"database": str(path), "bytes": path.stat().st_size, "runs": runs, "rows": rows}


def database_text(facts: dict[str, Any]) -> str:
    """The same for people."""
    columns = ("run_id", "created", "command", "real_images", "generated_images", "k", "mirror", "distances")
    runs = [[*(run[column] for column in columns), " ".join(run["views"])] for run in facts["runs"]]
    counts = table(["table", "rows"], list(facts["rows"].items()))
    head = f"database {name(facts['database'])}, {facts['bytes'] / 1e6:,.1f} MB"
    return "\n\n".join([head, table([*columns, "views"], runs), counts])
