#!/usr/bin/python3
"""The manual pages say what the programs, the configuration and the interface have, and no more.

usage: test_pages.py SOURCE_ROOT PERCEPTD PERCEPTCTL PERCEPT_RUN PERCEPT_SEARCH
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def pages():
    return sorted(glob.glob(os.path.join(ROOT, "*", "man", "*.[1-8]")))


def items(page):
    """The heads of a page's lists, each on one line."""
    text = re.sub(r"^\.It Xo\n(.*?)^\.Xc$", lambda m: ".It " + m[1][1:].replace("\n.", " "), page,
                  flags=re.M | re.S)
    return re.findall(r"^\.It (.*)$", text, re.M)


def options_of_page(page):
    """--name and -x from the heads that describe options, not from those that use them."""
    heads = " ".join(head for head in items(page) if head.startswith("Fl "))
    return ({"--" + name for name in re.findall(r"Fl Fl ([a-z-]+)", heads)}
            | {"-" + letter for letter in re.findall(r"Fl ([a-z])\b", heads)})


def run_help(program):
    run = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    return run.stdout


def options_of_help(text):
    return (set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
            | set(re.findall(r"(?<![\w-])-[a-z](?![\w-])", text)))


def commands_of_help(text):
    """Words that begin a line after two blanks, in the block before the options."""
    block = re.split(r"^\S.*ptions:$|^ +-", text.split("\n\n", 1)[1], maxsplit=1, flags=re.M)[0]
    return set(re.findall(r"^  ([a-z]+)\b", block, re.M))


class Pages(unittest.TestCase):
    def compare(self, what, page, real):
        self.assertTrue(real, f"no {what} found at all")
        self.assertEqual(real - page, set(), f"{what} that the page does not describe")
        self.assertEqual(page - real, set(), f"{what} that the page alone knows")

    def check_program(self, program, name, section):
        page, text = read("daemon", "man", f"{name}.{section}"), run_help(program)
        self.compare(f"options of {name}", options_of_page(page), options_of_help(text))
        if section == 1:
            commands = {head.split()[1] for head in items(page)
                        if head.startswith("Cm ") and head.split()[1] in page_commands(page)}
            self.compare(f"commands of {name}", commands, commands_of_help(text))

    def test_perceptd(self):
        self.check_program(PERCEPTD, "perceptd", 8)

    def test_perceptctl(self):
        self.check_program(PERCEPTCTL, "perceptctl", 1)

    def test_percept_run(self):
        self.check_program(PERCEPT_RUN, "percept-run", 1)

    def test_percept_search(self):
        self.check_program(PERCEPT_SEARCH, "percept-search", 8)

    def test_configuration(self):
        page = read("daemon", "man", "perceptd.conf.5")
        described = set()
        for section, body in re.findall(r"^\.Ss Section (\w+)\n(.*?)(?=^\.S[sh])", page,
                                        re.M | re.S):
            described |= {(section, key) for key in re.findall(r"^\.It Cm (\w+) Ns =", body, re.M)}
        real = set(re.findall(r'^    \{"(\w+)", "(\w+)", "', read("daemon", "config.c"), re.M))
        self.compare("keys", described, real)
        shipped, section = set(), None
        for line in read("units", "perceptd.conf").splitlines():
            if found := re.fullmatch(r"\[(\w+)\]", line):
                section = found[1]
            elif found := re.fullmatch(r"#(\w+)=.*", line):
                shipped.add((section, found[1]))
        self.compare("keys of the shipped file", shipped, real)


def page_commands(page):
    """Commands stand in the first list of a page of section 1."""
    first = re.search(r"^The commands are:\n(.*?)^\.El$", page, re.M | re.S)[1]
    return {head.split()[1] for head in items(first)}


class Interface(unittest.TestCase):
    def setUp(self):
        self.page = read("ipc", "man", "org.perceptd.Percept1.5")
        self.members = {"method": [], "property": [], "signal": []}
        for path in sorted(glob.glob(os.path.join(ROOT, "ipc", "org.perceptd.Percept1.*.xml"))):
            for member in xml.etree.ElementTree.parse(path).iter():
                if member.tag in self.members:
                    self.members[member.tag].append(member)

    def described(self, macro):
        return [name for head in items(self.page) if head.startswith(macro + " ")
                for name in re.findall(r"[A-Z]\w\w+", head.split(" Pq ")[0])]

    def test_methods_and_their_arguments(self):
        def arguments(method, direction):
            found = (a for a in method.iter("arg") if a.get("direction") == direction)
            return "(" + ", ".join(f"{a.get('type')} {a.get('name')}" for a in found) + ")"

        found = re.findall(r'^\.It Ic (\w+)\n\.Li "(.*)"$', self.page, re.M)
        real = [(m.get("name"), arguments(m, "in") + " -> " + arguments(m, "out"))
                for m in self.members["method"]]
        self.assertGreater(len(real), 7)
        self.assertEqual(sorted(found), sorted(real))

    def test_signals(self):
        self.assertEqual(sorted(self.described("Sy")),
                         sorted(s.get("name") for s in self.members["signal"]))

    def test_properties(self):
        found = re.findall(r"^\.It Va (\w+) Pq Li (\S+)$", self.page, re.M)
        real = [(p.get("name"), p.get("type")) for p in self.members["property"]]
        self.assertGreater(len(real), 9)
        self.assertEqual(sorted(found), sorted(real))

    def test_options(self):
        found = re.findall(r"^\.It Cm (\w+) Pq Li (\S+) ;", self.page, re.M)
        real = re.findall(r'^    \{ "(\w+)", +"(\S+)", +[A-Z]', read("ipc", "options.c"), re.M)
        self.assertGreater(len(real), 13)
        self.assertEqual(sorted(found), sorted(real))

    def test_errors(self):
        table = read("ipc", "error.c")
        names = re.findall(r'PERCEPT_ERROR "(\w+)"', table)
        names += ["".join(word.capitalize() for word in name.split("_"))
                  for name in re.findall(r"DBUS_ERROR_(\w+)\}", table)] + ["Failed"]
        self.assertGreater(len(names), 20)
        self.assertEqual(sorted(self.described("Er")), sorted(names))

    def test_limits(self):
        limits = re.search(r"^\.Sh LIMITS\n(.*?)^\.Sh", self.page, re.M | re.S)[1]
        found = re.findall(r"\w+", " ".join(h[3:] for h in items(limits) if h.startswith("Li ")))
        real = re.findall(r'^        \{"(\w+)", [^{}]+\},$', read("ipc", "properties.c"), re.M)
        self.assertGreater(len(real), 14)
        self.assertEqual(sorted(found), sorted(real))


class Language(unittest.TestCase):
    def test_there_are_pages(self):
        self.assertGreaterEqual(len(pages()), 5)

    def test_own_references(self):
        known = {tuple(os.path.basename(page).rsplit(".", 1)) for page in pages()}
        for page in pages():
            for name, section in re.findall(r"^\.(?:.* )?Xr (\S+) (\d)", read(page), re.M):
                if "percept" in name:
                    self.assertIn((name, section), known, page)

    def test_mandoc(self):
        if not shutil.which("mandoc"):
            self.skipTest("mandoc is not installed")
        # Pages that are not installed here, ours among them, are no fault of the page.
        foreign = re.compile("referenced manual not found|outdated mandoc.db")
        for page in pages():
            run = subprocess.run(["mandoc", "-Tlint", "-Wstyle", page], capture_output=True,
                                 text=True, check=False)
            found = [line for line in (run.stdout + run.stderr).splitlines()
                     if not foreign.search(line)]
            self.assertEqual(found, [])


if __name__ == "__main__":
    ROOT, PERCEPTD, PERCEPTCTL, PERCEPT_RUN, PERCEPT_SEARCH = map(os.path.abspath, sys.argv[1:])
    unittest.main(argv=sys.argv[:1])
