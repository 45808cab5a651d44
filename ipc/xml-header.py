#!/usr/bin/python3
"""Writes interface files as C string macros, comments left out.

usage: xml-header.py OUTPUT FILE…. The macro of a.b.C.xml is XML_A_B_C.
"""

import os
import re
import sys


def macro(path):
    with open(path, encoding="utf-8") as file:
        xml = re.sub(r"\n? *<!--.*?-->", "", file.read(), flags=re.DOTALL)
    name = re.sub(r"\W", "_", os.path.basename(path).removesuffix(".xml")).upper()
    lines = [line.replace("\\", "\\\\").replace('"', '\\"') for line in xml.splitlines()]
    body = " \\\n    ".join(f'"{line}\\n"' for line in lines)
    return f"#define XML_{name} \\\n    {body}\n"


def main(output, *inputs):
    with open(output, "w", encoding="utf-8") as file:
        file.write("#pragma once\n\n" + "\n".join(macro(path) for path in inputs))


main(*sys.argv[1:])
