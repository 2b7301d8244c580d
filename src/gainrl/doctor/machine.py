"""The machine that this runs on: GPUs and driver, memory, disk, limits, the sandbox."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from gainrl.doctor.check import Check, at_least, failed, ok, size, warning
from gainrl.doctor.needs import Job, Needs, cuda_of
from gainrl.errors import ConfigError, GradingError
from gainrl.grading import sandbox
from gainrl.models.memory import GIB
from gainrl.training.verl import memory

DRIVERS = {12: 525, 13: 580}
"""NVIDIA's oldest driver for a major version of CUDA (CUDA compatibility, minor versions)."""
SECONDS = 20
"""Time limit of a program that is asked something."""
SHM = (GIB, 16 * GIB)
TMP = (2 * GIB, 20 * GIB)
FILES = (1024, 8192)
CORES_PER_GPU = 4
UTILISATION = "actor_rollout_ref.rollout.gpu_memory_utilization"
TOLERANCE = 0.97
"""Cards have a little less than their name says."""
NETWORK = {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "9p", "fuse.sshfs"}
"""Types of file systems that several machines share; SQLite's locks do not hold on them."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi lists it; memory in bytes."""

    name: str
    memory: int
    driver: str


def output_of(*command: str, seconds: float = SECONDS) -> str:
    """What a program prints.

    Raises:
        OSError: it is not there, ends with an error, or takes longer than `seconds`; the message
            is its last line.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} gave no answer in {seconds:g} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise OSError(f"{command[0]} ended with {done.returncode}: {said}")
    return done.stdout


def gpus() -> list[Gpu]:
    """The GPUs that are visible here (OSError: nvidia-smi cannot tell)."""
    fields = "--query-gpu=name,memory.total,driver_version"
    found = []
    for line in output_of("nvidia-smi", fields, "--format=csv,noheader,nounits").splitlines():
        name, mebibytes, driver = (part.strip() for part in line.rsplit(",", 2))
        if not mebibytes.isdigit():
            raise OSError(f"nvidia-smi gives no memory of {name}: {mebibytes}")
        found.append(Gpu(name, int(mebibytes) << 20, driver))
    return found


# --- GPUs ----------------------------------------------------------------------------------------


def check_gpus(needs: Needs | None) -> Iterator[Check]:
    """Driver, number and memory of the GPUs, against the environment and the runs."""
    try:
        found = gpus()
    except OSError as error:
        said = "nvidia-smi is not on PATH" if isinstance(error, FileNotFoundError) else str(error)
        if needs and needs.cuda:
            do = f"runs need {needs.gpus} GPUs a node: start this on a node that has them"
            yield failed("GPUs", said, f"{do}, or add --node to ask one through SLURM")
        else:
            yield ok("GPUs", f"none ({said}); none is needed")
        return
    if not found:
        yield failed("GPUs", "nvidia-smi lists none", "look at CUDA_VISIBLE_DEVICES and the driver")
        return
    yield _driver(found[0], needs)
    if needs and needs.cuda:
        yield _number(found, needs)
        yield from (_memory(min(gpu.memory for gpu in found), job, needs) for job in needs.jobs)


def _driver(gpu: Gpu, needs: Needs | None) -> Check:
    name, saw = "driver", f"{gpu.driver}, {gpu.name}"
    if not needs or not needs.cuda or needs.preset.verl.python:
        return ok(name, saw)
    try:
        built = cuda_of(needs.list)
    except OSError as error:
        return warning(name, f"{saw}; {error}", "start this in the root of the repository")
    if built is None:
        return warning(name, f"{saw}; {needs.list} names no CUDA runtime", "compare by hand")
    least, have = DRIVERS.get(built[0]), gpu.driver.partition(".")[0]
    saw = f"{saw}; {needs.list} is built for CUDA {built[0]}.{built[1]}"
    if least is None or not have.isdigit():
        return warning(name, saw, "no rule here says whether they go together; compare by hand")
    if int(have) >= least:
        return ok(name, saw)
    do = f"that needs driver {least} or newer: have it renewed, or take another verl.environment"
    return failed(name, saw, do)


def _number(found: list[Gpu], needs: Needs) -> Check:
    saw = f"{len(found)} x {found[0].name}; a run takes {needs.gpus} on each of {needs.nodes} nodes"
    if len(found) >= needs.gpus:
        return ok("GPUs", saw)
    if "SLURM_JOB_ID" in os.environ:
        return ok("GPUs", f"{saw}; this job was given {len(found)}")
    return failed("GPUs", saw, f"set verl.gpus_per_node to {len(found)}, or use larger nodes")


def _memory(have: int, job: Job, needs: Needs) -> Check:
    """Whether a model fits on GPUs of `have` bytes, with the settings that runs get."""
    verl = needs.preset.verl
    chosen = verl.model_copy(update={"gpu_memory_gib": have / GIB})
    name, saw = f"GPU memory, {job.model}", size(have)
    try:
        settings = memory.settings(job.shape, job.training, chosen, job.critic)
    except ConfigError as error:
        return failed(name, saw, str(error))
    offloaded = settings["actor_rollout_ref.actor.fsdp_config.optimizer_offload"]
    saw += (
        f": micro-batches of {settings['actor_rollout_ref.actor.ppo_max_token_len_per_gpu']:,} "
        f"tokens, weights and moments {'wait in host memory' if offloaded else 'stay on the GPU'}, "
        f"vLLM gets {settings[UTILISATION]:.2f}"
    )
    if have < TOLERANCE * verl.gpu_memory_gib * GIB:
        do = f"set verl.gpu_memory_gib to {have / GIB:.0f}: it says {verl.gpu_memory_gib:g}"
        return failed(name, saw, do)
    return ok(name, saw)


# --- the rest of it ------------------------------------------------------------------------------


def check_cores(needs: Needs | None) -> Iterator[Check]:
    """Cores that this process may use, by GPU."""
    cores = len(os.sched_getaffinity(0))
    if needs and needs.distributed and "SLURM_JOB_ID" not in os.environ:
        wanted = CORES_PER_GPU * needs.gpus
        do = f"trainers, vLLM, graders and Ray share them: {wanted} or more are better"
        yield at_least("cores", f"{cores} for {needs.gpus} GPUs", cores, (1, wanted), do)
    else:
        yield ok("cores", f"{cores}")


def check_memory(needs: Needs | None) -> Iterator[Check]:
    """Host memory, also as a container or a job limits it."""
    have, where = psutil.virtual_memory().total, ""
    limit = _cgroup_limit()
    if limit and limit < have:
        have, where = limit, " (limit of the container or job)"
    if needs and needs.distributed and "SLURM_JOB_ID" not in os.environ:
        wanted = needs.host_bytes
        saw = f"{size(have)}{where}; a run wants about {size(wanted)}"
        do = "weights are loaded and checkpoints written through it: take larger nodes"
        yield at_least("host memory", saw, have, (wanted / 2, wanted), do)
    else:
        yield ok("host memory", f"{size(have)}{where}")


def _cgroup_limit() -> int | None:
    """The least memory.max from this process's control group up, in bytes."""
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").strip().rpartition(":")[2]
    except OSError:
        return None
    folder, found = Path("/sys/fs/cgroup") / own.lstrip("/"), []
    for each in (folder, *folder.parents):
        limit = each / "memory.max"
        if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
            found.append(int(text))
    return min(found, default=None)


def check_scratch(needs: Needs | None) -> Iterator[Check]:
    """Free space of /tmp (Ray's sessions, compiled kernels) and /dev/shm (Ray's objects, NCCL)."""
    scratch = Path(os.environ.get("TMPDIR") or "/tmp")
    if not scratch.is_dir():
        yield failed(str(scratch), "TMPDIR names no folder", "make it, or unset TMPDIR")
    else:
        free = shutil.disk_usage(scratch).free
        bounds = TMP if needs and needs.distributed else (GIB / 10, GIB)
        do = "Ray and compilers write there: clear it, or set TMPDIR to a larger local disk"
        yield at_least(str(scratch), f"{size(free)} free", free, bounds, do)
    if needs and needs.distributed:
        usage = shutil.disk_usage("/dev/shm")
        saw = f"{size(usage.free)} of {size(usage.total)} free"
        do = "Ray, NCCL and vLLM need it: start the container with --shm-size=64g or --ipc=host"
        yield at_least("/dev/shm", saw, usage.free, SHM, do)


def check_files() -> Iterator[Check]:
    """How many files a process may hold open; Ray wants thousands."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    have = float("inf") if soft == resource.RLIM_INFINITY else soft
    most = "any number" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    saw = "any number" if have == float("inf") else f"{soft:,} (may be raised to {most})"
    yield at_least("open files", saw, have, FILES, "put `ulimit -n 65536` before the command")


def check_disk(root: Path, needs: Needs | None) -> Iterator[Check]:
    """Free space of the results, against checkpoints and kept models."""
    folder = existing(root)
    free = shutil.disk_usage(folder).free
    one, everything = needs.disk if needs else (GIB / 10, GIB)
    saw = f"{size(free)} free for {root}/ on {filesystem(folder)}"
    if needs and needs.distributed:
        saw += f"; one run at a time takes {size(one)}, with all models that are kept "
        saw += f"{size(everything)}"
    do = "use a larger disk (--root, or a link named results), or training.keep_model: false"
    yield at_least("disk", saw, free, (max(one, GIB / 10), max(everything, GIB)), do)


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def filesystem(path: Path) -> str:
    """The type of the file system that a path is on."""
    mounts = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    path = path.resolve()
    return next((mounts[each] for each in (path, *path.parents) if each in mounts), "unknown")


def check_sandbox(unsafe: bool = False) -> Iterator[Check]:
    """Whether programs that a model writes can be run without risk here.

    Args:
        unsafe: the preset's `sandbox.unsafe`.
    """
    name = "sandbox"
    try:
        yield ok(name, f"{sandbox.choose()} works")
    except GradingError as error:
        do = "containers need user namespaces, or bubblewrap and its rights (docs/evaluation.md)"
        if unsafe and sandbox.unavailable("limits") is None:
            yield warning(name, f"{error}; sandbox.unsafe allows limits alone", do)
        else:
            yield failed(name, str(error), do)
