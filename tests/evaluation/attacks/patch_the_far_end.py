import gc, struct, sys
from sys import modules
for name in list(modules):
    if name.startswith("inside"):
        module = modules[name]
        for attribute in dir(module):
            if attribute in ("encode", "decode"):
                setattr(module, attribute, lambda *_, **__: b"T")
def double(x):
    return None
