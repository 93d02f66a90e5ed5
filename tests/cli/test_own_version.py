"""The version of a program that is installed, or only lies there."""

import importlib.metadata

import pytest

from cli.own_version import own_version


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert own_version() == importlib.metadata.version("understudy")


def test_a_checkout_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)

    assert own_version() == ""
