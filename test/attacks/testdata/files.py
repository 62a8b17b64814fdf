def read_shadow():
    return open("/etc/shadow").read()

def read_host_secret():
    return open(world["secret"]).read()

def read_host_secret_through_dotdot():
    return open("/course/questions/../../../.." + world["secret"]).read()

def read_host_secret_through_symlink():
    os.symlink(world["secret"], "/tmp/link")
    return open("/tmp/link").read()

def read_host_secret_through_proc_root():
    return open("/proc/1/root" + world["secret"]).read()

def read_host_secret_through_proc_cwd():
    return open("/proc/self/cwd/../../.." + world["secret"]).read()

def read_another_question():
    return open("/course/questions/other/server.py").read()

def list_other_questions():
    return sorted(os.listdir("/course/questions"))

def list_the_root():
    return sorted(os.listdir("/"))

def read_another_course():
    return os.listdir("/course/../course2")

def read_worker_environment():
    import glob
    return [open(p, "rb").read().decode("latin1") for p in glob.glob("/proc/[0-9]*/environ")]

def own_environment():
    return sorted(os.environ)

def write_course():
    open("/course/questions/files/evil", "w")

def overwrite_own_code():
    open(__file__, "w")

def append_own_code():
    open(__file__, "a").write("x")

def write_through_cwd():
    open("evil", "w")

def write_elements():
    open("/course/elements/evil", "w")

def write_root():
    open("/evil", "w")

def write_usr():
    open("/usr/evil", "w")

def write_etc_passwd():
    open("/etc/passwd", "a").write("evil::0:0::/:/bin/sh\n")

def write_dev():
    open("/dev/evil", "w")

def write_prairie():
    open("/prairie/seal.py", "a")

def write_urandom():
    os.write(os.open("/dev/urandom", os.O_WRONLY), b"x")

def write_pycache():
    os.makedirs("/course/questions/files/__pycache__")

def symlink_into_course():
    os.symlink("/etc", "/course/questions/files/link")

def hardlink_out_of_course():
    os.link(__file__, "/tmp/hard")

def rename_in_course():
    os.rename(__file__, __file__ + "x")

def unlink_in_course():
    os.unlink(__file__)

def truncate_course():
    os.truncate(__file__, 0)

def chmod_course():
    os.chmod(__file__, 0o777)

def chown_course():
    os.chown(__file__, os.getuid(), os.getgid())

def touch_course():
    os.utime(__file__, (0, 0))

def setxattr_course():
    os.setxattr(__file__, "user.x", b"1")

def tmpfile_in_course():
    os.open("/course/questions/files", os.O_TMPFILE | os.O_RDWR)

def chown_to_root():
    open("/tmp/f", "w").close()
    os.chown("/tmp/f", 0, 0)

def suid_copy():
    import shutil, subprocess
    shutil.copy("/usr/bin/id", "/tmp/id")
    os.chmod("/tmp/id", 0o6755)
    out = subprocess.run(["/tmp/id", "-u"], capture_output=True, text=True)
    return [int(out.stdout), os.getuid()]

def exec_setuid_program():
    import subprocess
    out = subprocess.run(["/usr/bin/su", "-c", "id -u"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if out.returncode:
        raise PermissionError(out.stderr)
    return out.stdout

def mknod_disk():
    os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0))

def mknod_mem():
    os.mknod("/tmp/mem", 0o20666, os.makedev(1, 1))

def mknod_null():
    os.mknod("/tmp/null", 0o20666, os.makedev(1, 3))

def chroot():
    os.chroot("/tmp")

def chroot_escape():
    os.mkdir("/tmp/jail")
    os.chroot("/tmp/jail")
    os.chdir("../../../../..")
    return os.listdir(".")

def open_by_handle():
    call(304, -100, ctypes.create_string_buffer(b"\x08\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0"), 0)

def name_to_handle():
    buf, mnt = ctypes.create_string_buffer(struct.pack("iI", 128, 0), 200), ctypes.c_int()
    call(303, -100, b"/course", buf, ctypes.byref(mnt), 0)

def leave_files_behind():
    left = [p for p in ("/tmp/mark", "/var/tmp/mark2", "/dev/shm/mark") if os.path.exists(p)]
    for p in ("/tmp/mark", "/var/tmp/mark2", "/dev/shm/mark"):
        open(p, "w").close()
    return left

def evil_names():
    for n in (b"-rf", b"a\nb", b"\xff\xfe", b"x" * 255, b"\x1b[2J", b"$(reboot)", b"..."):
        open(b"/tmp/" + n, "w").close()
    return len(os.listdir(b"/tmp"))

def a_million_missing_names():
    for i in range(1000000):
        os.path.exists("/course/questions/files/m%d" % i)

def read_kmsg():
    return os.read(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK), 1000)

def open_mem():
    os.open("/dev/mem", os.O_RDONLY)

def open_fuse():
    os.open("/dev/fuse", os.O_RDWR)

def open_kvm():
    os.open("/dev/kvm", os.O_RDWR)

def see_sys():
    return os.listdir("/sys/kernel")

def see_cgroups():
    return os.listdir("/sys/fs/cgroup")

def write_release_agent():
    os.makedirs("/tmp/cg")
    if libc.mount(b"cgroup", b"/tmp/cg", b"cgroup", ctypes.c_ulong(0), b"memory") != 0:
        raise OSError(ctypes.get_errno(), "mount")
    open("/tmp/cg/release_agent", "w").write("/tmp/x")
