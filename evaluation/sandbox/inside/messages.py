"""What pool, worker, judge and zygote say to each other: fixed headers, then bytes that the next one passes on unread.

Worker and zygote fork for each job, and every page that they write to after a fork is copied: so they neither encode
nor decode values (codec.py), and pass on what others do.
"""

from __future__ import annotations

import struct

# pool to worker: seconds, CPU seconds, memory, file bytes, threads, output bytes, length of the judge's name; then that
# name and the payload's encoding
JOB = struct.Struct("<d5QI")

# judge to worker: a kind, and for a verdict whether the guard was put on and the encoding of (status, detail)
VERDICT, GONE, RESTART, FAULT = b"v", b"g", b"r", b"f"
GUARDED = struct.Struct("<?")

# worker to zygote: the program's limits as above, whether judges use the guard; and the order to kill it
START = struct.Struct("<5Q?")
KILL = b"k"

# zygote to worker: whether a kill ended the program, its CPU seconds; then the text of a fault, if any
ENDED = struct.Struct("<?d")

# worker to pool: OUTCOME, seconds, CPU seconds of the program, the encoding of (status, detail); or FAULT and a text
OUTCOME = b"o"
SPENT = struct.Struct("<dd")
