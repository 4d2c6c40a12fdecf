"""What stands beside the code for people and forges: citation, change log, hooks, workflow, templates."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FORGE = ROOT / ".github"
TEMPLATES = sorted((FORGE / "ISSUE_TEMPLATE").glob("*.yml"))
# https://github.com/citation-file-format/citation-file-format/blob/1.2.0/schema.json
KEYS = {
    *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license"),
    *("license-url", "message", "preferred-citation", "references", "repository", "repository-artifact", "repository-code"),
    *("title", "type", "url", "version"),
}
REQUIRED = {"authors", "cff-version", "message", "title"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_citation_follows_its_schema_and_the_package() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation.keys() >= REQUIRED
    assert citation.keys() <= KEYS
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert (citation["version"], citation["license"]) == (PROJECT["project"]["version"], PROJECT["project"]["license"])
    assert citation["authors"]
    assert all(author["name"] for author in citation["authors"])
    assert len(set(citation["keywords"])) == len(citation["keywords"])


def test_the_change_log_has_one_open_section() -> None:
    sections = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", section) for section in sections[1:])


def test_the_workflow_calls_what_everybody_can_call() -> None:
    (job,) = read(FORGE / "workflows" / "ci.yml")["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert oldest in job["strategy"]["matrix"]["python"]


def test_hooks_run_the_pinned_tools_of_the_project() -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"  # nothing is downloaded
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    assert all(hook["entry"].startswith(".venv/bin/") for hook in repository["hooks"])


@pytest.mark.parametrize("path", [path for path in TEMPLATES if path.stem != "config"], ids=lambda path: path.stem)
def test_issue_forms_have_what_a_forge_asks_for(path: Path) -> None:
    form = read(path)
    assert form.keys() >= {"name", "description", "body"}
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert fields
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert all(field["attributes"]["value"] for field in form["body"] if field["type"] == "markdown")
