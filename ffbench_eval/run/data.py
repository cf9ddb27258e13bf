"""The data of a task: frames, reference, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..report import DatasetUsed
from ..suite import Task

if TYPE_CHECKING:
    from ffbench_data.frames import Frames
    from ffbench_data.observables import Reference


@dataclass
class TaskData:
    """What a task measures on: its frames, the dataset's reference observables and where they come from."""

    frames: Frames
    reference: Reference | None
    used: DatasetUsed


def load_task_data(task: Task) -> TaskData:
    """The frames of a task's split, the reference that ships with the dataset, and their hashes."""
    from ffbench_data.load import dataset_folder, load_frames
    from ffbench_data.observables import read_reference

    split = task.parameters.split
    frames, source = load_frames(task.dataset, task.config, split), used(task.dataset, task.config, split)
    return TaskData(frames, read_reference(dataset_folder(task.dataset), source.config), source)


def used(dataset: str, config: str | None, split: str) -> DatasetUsed:
    """Where frames come from, with the hash of their content."""
    from ffbench_data.datacard import card
    from ffbench_data.load import provenance

    source = provenance(dataset, config, split)
    return DatasetUsed(
        name=source["dataset"],
        config=source["config"],
        split=split,
        version=source["version"],
        content_sha256=source["splits"][split]["content_sha256"],
        theory=card(dataset).theory,
    )
