def double(x):
    print("\ud800\0\r\x1b[2J")
    return ["\ud800", "4\0", "4\r", b"4\xff"][x % 4]
