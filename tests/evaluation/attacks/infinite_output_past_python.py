import os
def double(x):
    while True:
        os.write(1, b"y" * 100_000)
        os.write(2, b"y" * 100_000)
