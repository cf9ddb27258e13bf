"""The machine and programs a report was made with, and the kernel that makes costs of machines comparable."""

from __future__ import annotations

import os
import platform
import time
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from ..models.environments import installed_packages
from ..report import Environment


def environment(device: str, timed: bool = True) -> Environment:
    """What a report says about where it was made; ``timed``, with the time of the reference kernel on ``device``."""
    here = not device.startswith("cuda") or torch.cuda.is_available()  # else the workers have it
    return Environment(
        python=platform.python_version(),
        ffbench=version(),
        packages=installed_packages(),
        system=platform.system(),
        processor=processor(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if device.startswith("cuda") and here else device,
        kernel_s=_kernel_seconds(device) if timed and here else None,
        deterministic=torch.device(device).type == "cpu" or torch.are_deterministic_algorithms_enabled(),
    )


@cache
def version() -> str:
    """The installed version of ffbench."""
    try:
        return metadata.version("ffbench")
    except metadata.PackageNotFoundError:
        return "uninstalled"


def _kernel_seconds(device: str) -> float:
    """Median of the reference kernel's time, to compare costs between machines."""
    from ..engine.cost import reference_kernel

    kernel = reference_kernel(device)
    times = []
    for _ in range(25):
        begun = time.perf_counter()
        kernel()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return float(f"{np.median(times[5:]):.4g}")


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
