def double(x):
    raise ValueError("y" * (100 << 20))
