#!/usr/bin/python3
"""Shells complete the commands and options that the programs have, and no others.

usage: test_completion.py FOLDER PERCEPTD PERCEPTCTL PERCEPT_RUN
"""

import os
import re
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from test_pages import commands_of_help, options_of_help, run_help  # noqa: E402

# Prints what the function offers for the words after its name; the last word is being typed.
BASH = """
source "$1"; function=$2; shift 2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
"$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


def bash(program, *words):
    name = os.path.basename(program)
    run = subprocess.run(["bash", "-c", BASH, "bash", os.path.join(FOLDER, name + ".bash"),
                          "_" + name.replace("-", "_"), name, *words],
                         cwd=FOLDER, capture_output=True, text=True, check=True)
    assert run.stderr == "", run.stderr
    return set(run.stdout.split())


class Bash(unittest.TestCase):
    def test_options(self):
        for program, before in ((PERCEPTD, []), (PERCEPTCTL, []),
                                (PERCEPT_RUN, ["m.gguf", "bench"])):
            with self.subTest(program):
                self.assertEqual(bash(program, *before, "-"), options_of_help(run_help(program)))

    def test_commands(self):
        self.assertEqual(bash(PERCEPTCTL, ""), commands_of_help(run_help(PERCEPTCTL)))
        self.assertEqual(bash(PERCEPTCTL, "--json", "s"), {"status", "similar", "search"})
        self.assertEqual(bash(PERCEPT_RUN, "m.gguf", ""), commands_of_help(run_help(PERCEPT_RUN)))

    def test_what_belongs_to_another_command_is_not_offered(self):
        self.assertNotIn("--effort", bash(PERCEPTCTL, "status", "--"))
        self.assertIn("--effort", bash(PERCEPTCTL, "ask", "--"))
        self.assertNotIn("--limit", bash(PERCEPTCTL, "index", "--"))
        self.assertIn("--limit", bash(PERCEPTCTL, "search", "--"))
        self.assertIn("--uid", bash(PERCEPTCTL, "purge", "--"))
        self.assertEqual(bash(PERCEPTCTL, "status", ""), set())

    def test_values(self):
        self.assertEqual(bash(PERCEPTD, "--bus", "=", "s"), {"session", "system"})
        self.assertEqual(bash(PERCEPTD, "--bus", "="), {"session", "system"})
        self.assertEqual(bash(PERCEPT_RUN, "m.gguf", "info", "--route", ""), {"gates", "all"})
        self.assertEqual(bash(PERCEPTCTL, "ask", "--seed", ""), set())

    def test_files(self):
        for words in (["ask", "-i"], ["embed", "--audio", "="], ["classify"]):
            self.assertEqual(bash(PERCEPTCTL, *words, "meson.b"), {"meson.build"})
        self.assertEqual(bash(PERCEPT_RUN, "meson.b"), {"meson.build"})
        self.assertEqual(bash(PERCEPTCTL, "index", "meson.b"), set(), "folders only")
        self.assertEqual(bash(PERCEPTCTL, "watch", "../ma"), {"../man"})


class OtherShells(unittest.TestCase):
    def check(self, program, options, text):
        help_text = run_help(program)
        self.assertEqual(options, options_of_help(help_text))
        if program != PERCEPTD:
            for command in commands_of_help(help_text):
                self.assertRegex(text, rf"\b{command}\b")

    def test_zsh(self):
        for program in (PERCEPTD, PERCEPTCTL, PERCEPT_RUN):
            text = read("_" + os.path.basename(program))
            options = set()
            for line in re.findall(r"^    (.*)\[.*$", text, re.M):
                spec = re.sub(r"\([^)]*\)", "", line)
                options |= set(re.findall(r"--[a-z][a-z-]+|(?<![\w-])-[a-z](?![a-z])", spec))
            self.check(program, options, text)

    def test_fish(self):
        for program in (PERCEPTD, PERCEPTCTL, PERCEPT_RUN):
            text = read(os.path.basename(program) + ".fish")
            lines = "\n".join(re.findall(r"^complete .*$", text, re.M))
            self.check(program, {"--" + name for name in re.findall(r" -l ([a-z-]+)", lines)}
                       | {"-" + letter for letter in re.findall(r" -s ([a-z])\b", lines)}, text)

    def test_syntax(self):
        for shell, pattern in (("zsh", r"_"), ("fish", r".*\.fish")):
            if not shutil.which(shell):
                self.skipTest(f"{shell} is not installed")
            for name in filter(re.compile(pattern).match, os.listdir(FOLDER)):
                with self.subTest(name):
                    run = subprocess.run([shell, "-n", os.path.join(FOLDER, name)],
                                         capture_output=True, text=True, check=False)
                    self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_fish_offers(self):
        if not shutil.which("fish"):
            self.skipTest("fish is not installed")
        run = subprocess.run(["fish", "--no-config", "-c", f"source {FOLDER}/perceptctl.fish; "
                              "complete -C 'perceptctl '"], capture_output=True, text=True,
                             check=True)
        offered = {line.split("\t")[0] for line in run.stdout.splitlines()}
        self.assertEqual(offered, commands_of_help(run_help(PERCEPTCTL)))


if __name__ == "__main__":
    FOLDER, PERCEPTD, PERCEPTCTL, PERCEPT_RUN = map(os.path.abspath, sys.argv[1:])
    unittest.main(argv=sys.argv[:1])
