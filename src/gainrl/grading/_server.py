"""The side of the program under test: defines its function, then calls it on request.

Put behind `_wire.py` and before a call of `serve`, and run in a sandbox of its own. The first
message has the parts of the source and the function's name, every further one the arguments of a
call. Nothing here is trusted: the source can replace all of it, and gains nothing but to choose the
plain values that it sends.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # at run time `_wire.py` stands above
    from gainrl.grading._wire import pack, receive, send, unpack


FUTURE = 0x1000000
"""What `from __future__ import annotations` sets; all other ones have long been the default."""


def serve():
    """Answer calls until there are no more; what the program prints goes nowhere."""
    calls = os.fdopen(os.dup(0), encoding="ascii")
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open("/dev/null", os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    job = receive(calls)
    space = {"__name__": "program"}
    try:
        flags = 0  # a `__future__` of the prompt holds for the program, too
        for text in job["source"]:
            made = compile(text, "program.py", "exec", flags)
            flags |= made.co_flags & FUTURE
            exec(made, space)
        function = find(space, job["entry_point"])
    except Exception as error:  # noqa: BLE001 - whatever the program raises
        send(replies, ["broken", type(error).__name__])
        return
    send(replies, ["defined"])
    for line in iter(lambda: receive(calls), None):
        send(replies, answer(function, *line))


def find(space, entry_point):
    """The function of that name, or the method of a class, with a new instance for every call."""
    owner, _, name = entry_point.rpartition(".")
    if not owner:
        return space[name]
    kind = space[owner]
    return lambda *arguments, **named: getattr(kind(), name)(*arguments, **named)


def answer(function, arguments, named):
    """Call the function; its result or the name and text of the exception."""
    try:
        result = function(*unpack(arguments), **unpack(named))
        return ["returned", pack(result)]
    except Exception as error:  # noqa: BLE001
        return ["raised", type(error).__name__, str(error)[:1000]]
