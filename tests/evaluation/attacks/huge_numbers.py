import sys
sys.set_int_max_str_digits(0)
def double(x):
    return str(9 ** 9 ** 8)
