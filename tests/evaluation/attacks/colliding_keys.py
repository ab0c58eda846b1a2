prime = (1 << 61) - 1
def double(x):
    return {n * prime for n in range(1, 3000)} if x % 2 else {n * prime: 0 for n in range(1, 3000)}
