"""Who runs a checkout installs from it; who has the package installs by name."""

import pytest

from embeddings import extras


def test_an_extra_is_installed_from_where_the_package_came(monkeypatch: pytest.MonkeyPatch) -> None:
    assert extras.installing("serve") == "pip install '.[serve]' in the project folder"
    monkeypatch.setattr(extras, "_CHECKOUT", False)
    assert extras.installing("serve") == "pip install 'synthtrace[serve]'"
