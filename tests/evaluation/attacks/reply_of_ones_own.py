# a reply that nests ten thousand lists, and one that claims four billion items
import os, struct
def double(x):
    data = b"l\x01\0\0\0" * 10_000 if x % 2 else b"l\xff\xff\xff\xff" + b"N" * 100
    os.write(3, struct.pack("<I", len(data)) + data)
    os._exit(0)
