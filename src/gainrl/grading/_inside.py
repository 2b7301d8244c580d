"""What runs first in a sandboxed process; compiled and sent by `sandbox.py`, never imported.

The job (marshal: to import json takes longer than all of this) comes from `job_file`, and the
descriptor in it called status gets 'ready' once every limit holds, or the error. Both are closed
before the program starts, and the frames below the program hold nothing but its own source.
Linux only, stdlib only.
"""

import ctypes
import marshal
import os
import resource
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)

NEW_NS, NEW_CGROUP, NEW_UTS, NEW_IPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEW_USER, NEW_PID, NEW_NET = 0x10000000, 0x20000000, 0x40000000
ANY_NEW = NEW_NS | NEW_CGROUP | NEW_UTS | NEW_IPC | NEW_USER | NEW_PID | NEW_NET

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18

DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
STREAMS = {
    path: number
    for number, name in enumerate(("stdin", "stdout", "stderr"))
    for path in (f"/dev/{name}", f"/dev/fd/{number}", f"/proc/self/fd/{number}")
}
DESCRIPTORS = 64
ROOTS = ("/mnt", "/srv", "/media", "/opt", "/tmp")
"""The first of these that holds none of the visible paths is where the new root is put together."""


def call(name, *arguments):
    """Call a C function that returns -1 on an error; raises OSError with its name."""
    if getattr(LIBC, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0, options=None):
    """mount(2) with text arguments."""
    source, target, kind, options = (
        text.encode() if text is not None else None for text in (source, target, kind, options)
    )
    call("mount", source, target, kind, ctypes.c_ulong(flags), options)


# --- namespaces ----------------------------------------------------------------------------------


def enclose(job):
    """Go on in new namespaces, in a process that is neither their first nor the one that was here.

    The process that was here and the first of the namespace only wait; when the first one ends, by
    itself or by a signal from outside, the kernel kills whatever the program has left behind.
    """
    # A privileged user needs no user namespace, and takes a user id of its own later.
    user = 0 if job["uid"] is not None else NEW_USER
    uid, gid = os.getuid(), os.getgid()
    call("unshare", user | NEW_NS | NEW_PID | NEW_NET | NEW_IPC | NEW_UTS | NEW_CGROUP)
    if user:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        end_with_parent()  # new rights have taken the first request back
    wait_as_parent()
    end_with_parent()
    new_root(job["visible"], job["scratch_bytes"])
    wait_as_parent()


def end_with_parent():
    """Have the kernel kill this process when its parent ends."""
    call("prctl", 1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG


def wait_as_parent():
    """Fork; the parent ends here, with the exit status of the child (128 + n for signal n)."""
    child = os.fork()
    if child == 0:
        return
    for descriptor in range(DESCRIPTORS):  # else the reader of the program's output never sees EOF
        if descriptor != 2:
            close(descriptor)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def close(descriptor):
    """Close a descriptor that may not be open."""
    try:  # noqa: SIM105 - contextlib takes longer to import than the rest of this file
        os.close(descriptor)
    except OSError:
        pass


def new_root(visible, scratch_bytes):
    """Make a file system of the visible paths, read-only, four devices and a scratch /tmp."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    root = next(
        path
        for path in ROOTS
        if os.path.isdir(path) and not any(f"{shown}/".startswith(f"{path}/") for shown in visible)
    )
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for path in visible:
        show(path, root + path)
    os.mkdir(f"{root}/dev")
    for path in DEVICES:
        os.close(os.open(root + path, os.O_CREAT | os.O_WRONLY))
        mount(path, root + path, flags=MS_BIND)
    os.mkdir(f"{root}/tmp")
    options = f"size={scratch_bytes},nr_inodes=4096,mode=1777"
    mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options)
    os.chdir(root)
    number = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
    call("syscall", ctypes.c_long(number), b".", b".")  # pivot_root, which has no C function
    call("umount2", b".", 2)  # MNT_DETACH: the old root, stacked on the new one
    mount(None, "/", flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir("/tmp")


def show(path, target):
    """Bind one path, with what is mounted below it, read-only; a symbolic link stays one."""
    if os.path.islink(path):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(os.readlink(path), target)
        return
    os.makedirs(target, exist_ok=True)
    mount(path, target, flags=MS_BIND | MS_REC)
    attributes = struct.pack("4Q", MS_RDONLY | MS_NOSUID | MS_NODEV, 0, 0, 0)
    # mount_setattr(AT_FDCWD, target, AT_RECURSIVE, ...); Linux 5.12
    call("syscall", ctypes.c_long(442), -100, target.encode(), 0x8000, attributes, 32)


# --- limits --------------------------------------------------------------------------------------


def confine(job):
    """Set every limit of this process, for good."""
    limits = job["limits"]
    for name, value in (
        ("RLIMIT_CPU", limits["cpu_seconds"] + 1),
        ("RLIMIT_AS", limits["memory_mb"] << 20),
        ("RLIMIT_FSIZE", job["scratch_bytes"]),
        ("RLIMIT_NOFILE", DESCRIPTORS),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MSGQUEUE", 0),
    ):
        lower(getattr(resource, name), value)
    if job["kind"] != "limits":  # there nothing may fork, and the user's other processes count
        lower(resource.RLIMIT_NPROC, limits["processes"])
    if job["uid"] is not None:
        os.setgroups([])
        os.setresgid(job["uid"], job["uid"], job["uid"])
        os.setresuid(job["uid"], job["uid"], job["uid"])
    header = struct.pack("Ii", 0x20080522, 0)
    call("capset", header, bytes(24))  # no capability, in the user namespace either
    call("prctl", 4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: its memory is nobody else's
    call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    filter_calls(forks=job["kind"] != "limits")


def lower(which, value):
    """Set both the soft and the hard limit, no higher than the hard limit is (see RLIMIT_CPU)."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    soft = value - 1 if which == resource.RLIMIT_CPU and value > 1 else value
    resource.setrlimit(which, (soft, value))  # SIGXCPU first, which tells the reason


# Kernel calls that no test program needs: sockets, memory that no limit counts (memfd, System V,
# message queues, io_uring), other processes, keys, namespaces and mounts.
COMMON = (424, 425, 428, 429, 430, 431, 432, 434, 438, 447)
CALLS: dict[str, dict] = {
    "x86_64": {
        "arch": 0xC000003E,
        "clone": 56,
        "refused": (29, 41, 64, 68, 101, 155, 161, 165, 166, 240, 248, 249, 250, 272, 298, 304,
                    308, 310, 311, 319, 321, 323),
        # kill and its kin, setpgid, setsid, fork, vfork
        "alone": (62, 129, 200, 234, 297, 109, 112, 57, 58),
    },
    "aarch64": {
        "arch": 0xC00000B7,
        "clone": 220,
        "refused": (194, 198, 190, 186, 117, 41, 51, 40, 39, 180, 217, 218, 219, 97, 241, 265,
                    268, 270, 271, 279, 280, 282),
        "alone": (129, 138, 130, 131, 240, 154, 157),
    },
}  # fmt: skip
CLONE3, CLONE_THREAD, X32 = 435, 0x00010000, 0x40000000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


def filter_calls(forks):
    """Refuse the kernel calls above, and without `forks` also processes, sessions and signals."""
    machine = CALLS[os.uname().machine]
    code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, machine["arch"]), (RETURN, 0, 0, KILL)]
    code += [(LOAD, 0, 0, 0), (AT_LEAST, 0, 1, X32), (RETURN, 0, 0, EPERM)]
    code += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, ENOSYS)]  # clone then, whose flags can be read
    for number in machine["refused"] + COMMON + (() if forks else machine["alone"]):
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, EPERM)]
    code += [(EQUAL, 1, 0, machine["clone"]), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, 16)]
    code += [(ANY_BIT, 0, 1, ANY_NEW), (RETURN, 0, 0, EPERM)]
    if not forks:
        code += [(ANY_BIT, 1, 0, CLONE_THREAD), (RETURN, 0, 0, EPERM)]
    code += [(RETURN, 0, 0, ALLOW)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(text))
    # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    call("prctl", 22, 2, program, 0, 0)


# --- the program ---------------------------------------------------------------------------------


def prepare(file):
    """Enclose and confine this process; returns the program's parts, or exits with the error."""
    with file:
        job = marshal.load(file)
    status = job["status"]
    try:
        end_with_parent()
        if job["kind"] == "namespaces":
            enclose(job)
        confine(job)
    except BaseException as error:  # noqa: BLE001 - the grader has to hear of it
        os.write(status, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    os.write(status, b"ready")
    os.close(status)
    return job["before"], job["source"]


def takes_streams(function, number_of):
    """A function that opens a path, but for the paths of standard streams, which need a /proc."""

    def opened(file, *rest, **named):
        if isinstance(file, (str, bytes, os.PathLike)):
            number = STREAMS.get(os.fsdecode(file))
            if number is not None:
                return number_of(os.dup(number), *rest, **named)
        return function(file, *rest, **named)

    return opened


def start(before, source):
    """Run a program as `python program.py` would, behind code of ours if there is any.

    Its exit status is that of this process.
    """
    import _sitebuiltins
    import builtins
    import io
    import types

    builtins.exit = builtins.quit = _sitebuiltins.Quitter("exit", "Ctrl-D")  # -S left them out
    builtins.open = io.open = takes_streams(io.open, io.open)
    low = takes_streams(os.open, lambda number, *_, **__: number)
    os.open = lambda path, *rest, **named: low(path, *rest, **named)
    sys.argv[:] = ["program.py"]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if before is not None:
        exec(before, main.__dict__)
    exec(compile(source, "program.py", "exec"), main.__dict__)


if __name__ == "__main__":
    start(*prepare(globals().pop("job_file")))
