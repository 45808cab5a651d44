#!/usr/bin/python3
"""The style check must be able to fail: a clean little tree passes, each planted violation is found."""

import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import style  # noqa: E402
import table  # noqa: E402

CLEAN = {
    "engine/base/cleanup.h": "#pragma once\n\n#include <stdlib.h>\n",
    "engine/base/log.h": "#pragma once\n\n#include <stdio.h>\n",
    "engine/backend.h": '#pragma once\n\n#include "engine/base/cleanup.h"\n',
    "engine/engine.h": '#pragma once\n\n#include "engine/backend.h"\n',
    "engine/kv.h": "#pragma once\n",
    "engine/cpu/kernels.h": '#pragma once\n\n#include <immintrin.h>\n',
    "encoders/encoder.h": '#pragma once\n\n#include "engine/backend.h"\n',
    "encoders/media/png.c": "#include <png.h>\n",
    "ipc/server.c": '#include <dbus/dbus.h>\n\n#include "engine/base/log.h"\n',
    "daemon/worker.c": '#include "encoders/encoder.h"\n#include "engine/engine.h"\n',
    "README.md": "words\n",
}

LONG_FUNCTION = "int f(void)\n{\n" + "    g();\n" * 200 + "}\n"

# (file, its content, a part of the message)
PLANTED = [
    ("engine/base/arena.c", '#include "engine/backend.h"\n', 'may not include "engine/backend.h"'),
    ("engine/base/arena.c", '#include "cleanup.h"\n', 'may not include "cleanup.h"'),
    ("engine/base/arena.c", "#include <dbus/dbus.h>\n", "may not include <dbus/dbus.h>"),
    ("engine/base/arena.c", "#include <arpa/inet.h>\n", "may not include <arpa/inet.h>"),
    ("engine/base/arena.c", "#include HEADER\n", "cannot read"),
    ("engine/cpu/ref/norm.c", '#include "engine/engine.h"\n', 'may not include "engine/engine.h"'),
    ("engine/kv.c", '#include "engine/cpu/kernels.h"\n', "may not include"),
    ("engine/kv.c", '#include "encoders/encoder.h"\n', "may not include"),
    ("engine/kv.c", "#include <immintrin.h>\n", "may not include"),
    ("engine/kv.c", '#include "fusion/space.h"\n', "may not include"),
    ("encoders/image.c", '#include "engine/engine.h"\n', "may not include"),
    ("encoders/image.c", "#include <png.h>\n", "may not include"),
    ("encoders/media/wav.c", '#include "engine/backend.h"\n', "may not include"),
    ("fusion/splice.c", '#include "encoders/block.h"\n', "may not include"),
    ("fusion/splice.c", '#include "ipc/server.h"\n', "may not include"),
    ("ipc/stream.c", '#include "engine/engine.h"\n', "may not include"),
    ("ipc/stream.c", '#include "engine/base/pool.h"\n', "may not include"),
    ("ipc/stream.c", '#include "daemon/job.h"\n', "may not include"),
    ("daemon/job.c", '#include "engine/kv.h"\n', "may not include"),
    ("daemon/job.c", '#include "encoders/block.h"\n', "may not include"),
    ("daemon/job.c", "#include <dbus/dbus.h>\n", "may not include"),
    ("tests/unit/test-kv.c", '#include "engine/cpu/kernels.h"\n', "may not include"),
    ("attic/old.c", "int f(void);\n", "the include table does not name"),
    ("engine/kv.c", "int f(void);\t\n", "holds a tab"),
    ("engine/kv.c", "int f(void); \n", "ends with a blank"),
    ("engine/kv.c", "int f(void);", "no newline at its end"),
    ("engine/kv.c", "int f(void);\n\n", "ends with an empty line"),
    ("engine/kv.c", "/* " + "w" * 100 + " */\n", "columns"),
    ("engine/kv.c", "int f(void);\n" * 701, "lines"),
    ("engine/kv.c", LONG_FUNCTION, "f has 203 lines; 150 are the limit"),
    ("engine/kv.h", "#pragma once\n\nsize_t f(void);\n", "does not compile alone"),
    ("engine/kv.h", "struct kv {\n    int n;\n};\n", "does not compile alone"),
    ("train/model.py", "# TODO: everything\n", "'TODO'"),
    ("engine/kv.c", "/* FIXME */\n", "'FIXME'"),
    ("engine/kv.c", "/* XXX */\n", "'XXX'"),
    ("README.md", "This is a Stub.\n", "'Stub'"),
    ("dev", "# a placeholder\n", "'placeholder'"),
    ("ipc/server.c", "void f(void)\n{\n    dbus_connection_send_with_reply_and_block(c);\n}\n",
     "waits for the bus in f"),
    ("daemon/main.c", "void f(void)\n{\n    dbus_connection_flush(c);\n}\n",
     "waits for the bus in f"),
]


def plant(root, files):
    for path, content in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(content)


class StyleTest(unittest.TestCase):
    def found(self, extra, clean=CLEAN):
        with tempfile.TemporaryDirectory() as root:
            plant(root, {**clean, **extra})
            return list(style.violations(root))

    def test_clean_tree_passes(self):
        self.assertEqual(self.found({}), [])

    def test_every_planted_violation_is_found(self):
        for path, content, message in PLANTED:
            with self.subTest(path=path, message=message):
                # One file is enough, and each header of the clean tree costs a compiler run.
                found = self.found({path: content}, clean={})
                self.assertTrue(found and all(text.startswith(path + ":") for text in found), found)
                self.assertTrue(any(message in text for text in found), found)

    def test_start_up_may_wait(self):
        start = "int server_open(void)\n{\n    return dbus_bus_request_name(c);\n}\n"
        allowed = dict(table.BLOCKING_ALLOWED)
        table.BLOCKING_ALLOWED["ipc/bus.c"] = ("server_open",)
        try:
            self.assertEqual(self.found({"ipc/bus.c": start}), [])
            self.assertEqual(len(self.found({"ipc/other.c": start})), 1)
        finally:
            table.BLOCKING_ALLOWED.clear()
            table.BLOCKING_ALLOWED.update(allowed)

    def test_long_function_is_warned_of(self):
        text = "int f(void)\n{\n" + "    g();\n" * 70 + "}\n"
        self.assertEqual(self.found({"engine/kv.c": text}),
                         ["engine/kv.c:1: warning: f has 73 lines"])

    def test_build_folders_are_left_out(self):
        self.assertEqual(self.found({"out/x.c": "bad\t", "out/meson-private/y": ""}), [])


if __name__ == "__main__":
    unittest.main()
