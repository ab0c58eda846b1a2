import sys
def double(x):
    print("y" * (300 << 20))
    sys.stderr.write("y" * (300 << 20))
    raise SystemExit(0)
