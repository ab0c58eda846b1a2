# by value: what a program does to its arguments afterwards reaches nobody
import threading, time
shared = [0]
def change():
    while True:
        shared[:] = [4]
threading.Thread(target=change, daemon=True).start()
def double(x):
    return shared
