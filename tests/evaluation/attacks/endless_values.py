import itertools
def double(x):
    if x % 3 == 0:
        return itertools.count()
    held = []
    for _ in range(100_000 if x % 3 == 1 else 1):
        held = [held] if x % 3 == 1 else held
    held.append(held)
    return held
