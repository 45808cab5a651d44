#!/usr/bin/python3
"""The tables that dispatch reads and the introspection files say the same.

usage: test_table.py TABLE FILE…
"""

import subprocess
import sys
import unittest
import xml.etree.ElementTree

PEER = "org.freedesktop.DBus.Peer"
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def signature(method, direction):
    return "".join(arg.get("type") for arg in method.findall("arg")
                   if arg.get("direction") == direction)


def lines_of(path):
    """What the table should print for a file."""
    for interface in xml.etree.ElementTree.parse(path).getroot().findall("interface"):
        name = interface.get("name")
        yield f"interface {name}"
        for method in interface.findall("method"):
            if name != PEER:  # answered by libdbus
                yield (f"method {name} {method.get('name')} '{signature(method, 'in')}'"
                       f" '{signature(method, 'out')}'")
        for entry in interface.findall("property"):
            change = {a.get("name"): a.get("value") for a in entry.findall("annotation")}[EMITS]
            yield (f"property {name} {entry.get('name')} '{entry.get('type')}' {change}"
                   f" {entry.get('access')}")


class Table(unittest.TestCase):
    def test_same(self):
        printed = subprocess.run([TABLE], capture_output=True, text=True, check=True).stdout
        files = [line for path in FILES for line in lines_of(path)]
        self.assertGreater(len(files), 20)
        self.assertEqual(sorted(printed.splitlines()), sorted(files))

    def test_file_names(self):
        for path in FILES:
            names = [line.split()[1] for line in lines_of(path) if line.startswith("interface")]
            self.assertEqual(names, [path.rsplit("/", 1)[-1].removesuffix(".xml")])


if __name__ == "__main__":
    TABLE, *FILES = sys.argv[1:]
    unittest.main(argv=sys.argv[:1], verbosity=2)
