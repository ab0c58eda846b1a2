import ctypes, math, os, random, sys, threading, time
open("/tmp/left", "w").write("x")
math.left = random.left = sys.left = os.left = True
os.environ["LEFT"] = "x"
os.umask(0)
libc = ctypes.CDLL(None)
if hasattr(libc, "shmget"):
    libc.shmget(4711, 4096, 0o1666)
def stay():
    while True:
        time.sleep(0.01)
        try:
            open("/tmp/left", "a").write("x")
        except OSError:
            pass
threading.Thread(target=stay, daemon=True).start()
def double(x):
    while True:
        pass
