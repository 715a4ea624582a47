"""Servers of object storage, which the tests of this folder share: each test has a part of the bucket of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testing.object_storage import Bucket, moto, seaweedfs


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as bucket:
        yield bucket


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with moto(tmp_path_factory.mktemp("moto")) as bucket:
        yield bucket
