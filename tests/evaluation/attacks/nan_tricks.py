nan = float("nan")
def double(x):
    return nan
