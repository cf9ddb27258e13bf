"""Publish a built data set on the Hugging Face Hub: the folder as it is, and a tag per version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .datacard import card, list_datasets
from .load import dataset_folder, read_manifest, verify


def push(name: str, repo: str, *, root: str | Path | None = None, private: bool = False, client: Any = None) -> str:
    """Upload a verified data set folder to ``repo`` (ORG/NAME) and tag it ``v<version>``; the address is returned.

    ``client``: a `huggingface_hub.HfApi` (made if absent; log in with ``hf auth login``). ValueError if the data may
    not be redistributed, a file was changed, or the version is already published.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise ValueError(f"repo={repo!r} must be ORG/NAME")
    if name in list_datasets(root) and not (about := card(name, root=root)).redistributable:
        raise ValueError(f"{name} must not be redistributed (licence: {about.licence}): it cannot be pushed")
    folder = dataset_folder(name, root=root)
    manifest = read_manifest(folder)
    verify(name, root=root)
    if client is None:
        from huggingface_hub import HfApi

        client = HfApi()
    tag = f"v{manifest['version']}"
    client.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
    refs = client.list_repo_refs(repo, repo_type="dataset")
    if tag in {t.name for t in refs.tags}:
        raise ValueError(f"{repo} already has {tag}: raise the version on the card instead of changing a published one")
    client.upload_folder(
        repo_id=repo,
        repo_type="dataset",
        folder_path=str(folder),
        commit_message=f"{name} {manifest['version']}",
        delete_patterns=["data/*"],
    )
    client.create_tag(repo, tag=tag, repo_type="dataset", tag_message=manifest["content_sha256"])
    return f"https://huggingface.co/datasets/{repo}/tree/{tag}"
