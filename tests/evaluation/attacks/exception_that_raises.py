class Bad(Exception):
    def __str__(self):
        raise self
    __repr__ = __str__
def double(x):
    raise Bad()
