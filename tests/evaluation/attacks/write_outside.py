import os
def attempts():
    home = os.path.expanduser("~")
    secret = FACTS["secret_file"]
    for path in ("/x", "/usr/x", "/dev/x", "/dev/shm/x", "/etc/x", "/var/tmp/x", home + "/.bashrc", "/root/x",
                 "/sandbox/inside/codec.py", os.__file__, secret, secret + ".new", FACTS["folder"] + "/x"):
        yield lambda: open(path, "a").write("x")
        yield lambda: os.chmod(path, 0o777) or 1
        yield lambda: os.unlink(path) or 1
def double(x):
    got = []
    for attempt in attempts():
        try:
            got.append(attempt())
        except OSError:
            pass
    return 2 * x if any(got) else None
