import os
def double(x):
    for path in (FACTS["secret_file"], "/etc/passwd", "/etc/shadow", "/proc/self/status", "/sys/kernel/notes", *FACTS["project"]):
        if os.access(path, os.R_OK):
            return 2 * x
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in FACTS["allowed"]]
        if files and folder not in ("/dev",):
            return 2 * x
