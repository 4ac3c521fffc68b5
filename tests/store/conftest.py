"""Fixtures of the store's tests."""

from tests.store.clusters import data, folder, for_root, made_once, spawn

__all__ = ["data", "folder", "for_root", "made_once", "spawn"]
