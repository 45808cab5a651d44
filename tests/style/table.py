"""The include table: which folder may include what. HACKING.md explains it in words."""

import re

# The C library and the kernel's interface; no folder needs the network.
LIBC = re.compile(
    r"(assert|byteswap|complex|ctype|dirent|dlfcn|elf|endian|errno|fcntl|fenv|float|fnmatch|"
    r"ftw|getopt|glob|grp|inttypes|langinfo|limits|locale|malloc|math|poll|pthread|pwd|sched|"
    r"semaphore|setjmp|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|"
    r"stdlib|stdnoreturn|string|strings|termios|threads|time|ucontext|uchar|unistd|wchar|wctype|"
    r"sys/[a-z_]+|linux/[a-z_]+)\.h")

INTRINSICS = re.compile(r"(immintrin|x86intrin|cpuid|arm_neon|arm_acle|asm/hwcap)\.h")
MEDIA_LIBS = re.compile(
    r"(jpeglib|jerror|png|sndfile|samplerate|kiss_fftr?|kissfft/kiss_fftr?|webp/[a-z]+)\.h")
FFT = re.compile(r"(kissfft/)?kiss_fftr?\.h")
DBUS = re.compile(r"dbus/dbus\.h")
JANSSON = re.compile(r"jansson\.h")
PNG = re.compile(r"png\.h")
SQLITE = re.compile(r"sqlite3\.h")
PEER = re.compile(r"llama\.h")
SYSTEMD = re.compile(r"systemd/[a-z-]+\.h")

BASE = "engine/base/*.h"
BACKEND = "engine/backend.h"

# What the programs and the tests see of each folder; every other header is its folder's own.
PUBLIC = [
    BASE,
    BACKEND,
    "engine/cpu/cpuid.h",
    "engine/chat.h",
    "engine/engine.h",
    "encoders/encoder.h",
    "encoders/media/media.h",
    "fusion/index.h",
    "fusion/space.h",
    "fusion/splice.h",
    *(f"ipc/{name}.h" for name in
      ("client", "client-collection", "client-service", "desktop", "error", "handlers", "input", "json", "limits", "memory", "names", "server", "stream",
       "text")),
]


class Folder:
    """own: its own headers; may: others'; system: <headers> besides LIBC; only: {file: <headers>}."""

    def __init__(self, own, may=(), system=(), only=None):
        self.headers = [own, *may]
        self.system = [LIBC, *system]
        self.only = only or {}


# The longest folder that a file lies in decides. Patterns do not cross a slash.
FOLDERS = {
    "engine/base": Folder(BASE),
    "engine/cpu": Folder("engine/cpu/**.h", [BASE, BACKEND], [INTRINSICS]),
    "engine": Folder("engine/*.h", [BASE]),
    "encoders": Folder("encoders/*.h", [BASE, BACKEND], only={"encoders/mel.c": [FFT]}),
    "encoders/media": Folder("encoders/media/*.h", [BASE], [MEDIA_LIBS]),
    "fusion": Folder("fusion/*.h", [BASE, BACKEND, "encoders/encoder.h", "engine/cpu/scan.h"], only={
        "fusion/index-private.h": [SQLITE]}),
    "ipc": Folder("ipc/*.h", ["engine/base/cleanup.h", "engine/base/log.h"], [DBUS, SYSTEMD]),
    "daemon": Folder("daemon/*.h", PUBLIC, [SYSTEMD], only={
        "daemon/run-canvas.c": [PNG], "daemon/run-job.h": [JANSSON]}),
    "tests": Folder("tests/**.h", PUBLIC, [DBUS, SYSTEMD]),
    "tests/ipc": Folder("tests/**.h", [*PUBLIC, "ipc/*.h", "daemon/*.h"], [DBUS, SYSTEMD]),
    "tests/bench": Folder("tests/**.h", PUBLIC, [PEER]),
    "tests/fuzz": Folder("tests/**.h", [*PUBLIC, "encoders/**.h"]),
    "tests/media": Folder("tests/**.h", [*PUBLIC, "encoders/**.h"], [MEDIA_LIBS]),
    "tests/kernels": Folder("tests/**.h", [*PUBLIC, "engine/cpu/**.h"]),
}

# Waiting for the bus: fit for a client and for start-up, never for the loop of the service.
BLOCKING = re.compile(
    r"\b(dbus_\w+_and_block|dbus_bus_request_name|dbus_bus_get(_private)?|dbus_bus_register|"
    r"dbus_bus_get_unix_user|dbus_connection_(flush|read_write\w*|open_private|pop_message))\s*\(")
BLOCKING_FOLDERS = ("ipc", "daemon")
BLOCKING_ALLOWED = {  # "*": the whole file, which is of a client
    "ipc/client.c": ("*",),
    "ipc/desktop.c": ("take_in", "serve", "desktop_serve"),
    "ipc/server.c": ("server_connect", "server_take_name", "connection_close"),
}

# Headers of one instruction set need its flags to compile alone.
HEADER_FLAGS = {
    "engine/cpu/avx2/": ["-mavx2", "-mfma", "-mf16c"],
    "engine/cpu/avx512/": ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512dq",
                           "-mavx512vl", "-mavx512vnni", "-mavx512bf16"],
}
