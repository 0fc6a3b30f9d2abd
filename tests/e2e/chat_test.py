"""chat: on a terminal, as a user types, and with a script on standard input."""
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

import fcntl

from common import MINKE, SMOLLM, Case, default_interrupt, environment, needs_smollm

CONVERSATIONS = [
    ("Anna", "What is the capital of Italy?"),
    ("Peter", "How many days are in a week?"),
    ("Maria", "What colour is grass?"),
    ("John", "Can you tell me a short fact about cats?"),
    ("Emma", "What is two plus three?"),
    ("David", "What do bees make?"),
    ("Sarah", "Name one planet."),
    ("Thomas", "What do we call frozen water?"),
    ("Laura", "Which animal barks?"),
    ("Michael", "What is the opposite of hot?"),
]


class Terminal:
    """minke chat behind a pseudo-terminal."""

    def __init__(self, home, *flags):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

        def prepare():
            default_interrupt()
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen([MINKE, "chat", str(SMOLLM), *map(str, flags)], stdin=slave, stdout=slave,
                                      stderr=slave, env=environment(home, TERM="xterm", NO_COLOR="1"), preexec_fn=prepare)
        os.close(slave)
        self.seen = ""

    def until(self, pattern, timeout=60):
        """Reads until the pattern is there; returns what came up to its end."""
        end = time.time() + timeout
        while not (found := re.search(pattern, self.seen)):
            if time.time() > end or not select.select([self.master], [], [], end - time.time())[0]:
                raise AssertionError(f"no {pattern!r} in {self.seen!r}")
            try:
                self.seen += os.read(self.master, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended without {pattern!r}: {self.seen!r}") from None
        text, self.seen = self.seen[:found.end()], self.seen[found.end():]
        return text

    def type(self, text):
        os.write(self.master, text.encode())

    def keys(self, *keys):
        """Types as a person does: the line editor is there for each key."""
        for key in keys:
            self.type(key)
            time.sleep(0.2)

    def ask(self, line):
        """Types a line; returns what was answered, up to the line of rates."""
        self.type(line + "\r")
        return self.until(r"\[\d+ tokens, [^\]]*\]\s*> ")

    def end(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self.master)


@needs_smollm
class OnATerminal(Case):
    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)

    def chat(self, *flags):
        terminal = Terminal(self.home, *flags)
        self.addCleanup(terminal.end)
        terminal.until(r"/help\r\n> ")
        return terminal

    def test_a_conversation(self):
        t = self.chat("-n", 12)
        t.ask("Say hello to the café")
        saved = self.home / "saved.json"
        t.type(f"/save {saved}\r")
        t.until(r"\n> ")
        first = json.loads(saved.read_text())["messages"]
        self.assertEqual([m["role"] for m in first], ["user", "assistant"])
        self.assertEqual(first[0]["content"], "Say hello to the café")

        t.type("/set temperature 1.5\r")
        t.until(r"\n> ")
        t.ask("/regenerate")
        t.type(f"/save {saved}\r")
        t.until(r"\n> ")
        second = json.loads(saved.read_text())["messages"]
        self.assertEqual(len(second), 2)
        self.assertNotEqual(second[1], first[1])

        t.type("/clear\r")
        t.until(r"\n> ")
        t.type(f"/load {saved}\r")
        self.assertIn("2 messages", t.until(r"messages\r\n> "))
        t.ask("And again")
        t.type("/system Answer in verse.\r")
        t.until(r"\n> ")
        t.type("/system\r")
        t.until(r"Answer in verse\.\r\n> ")
        t.type("/help\r")
        t.until(r"Ctrl-C stops an answer\.\r\n> ")
        for wrong, says in [("/nonsense", "unknown command /nonsense"), ("/set mood 3", "unknown setting 'mood'"),
                            ("/set temperature hot", "'hot' is not a number"), ("/load /nowhere", "/nowhere")]:
            t.type(wrong + "\r")
            t.until(re.escape(says) + r"[^>]*\n> ")
        t.type("\x04")
        self.assertEqual(t.child.wait(10), 0)

    def test_interrupts_stop_the_answer_only(self):
        t = self.chat("--ignore-end")
        t.type("Write a long story\r")
        time.sleep(1.5)
        t.type("\x03")
        t.until(r"\[\d+ tokens[^\]]*\]\s*> ")
        t.keys("half a line", "\x03")
        t.until(r"\n> ")
        self.assertIsNone(t.child.poll())
        t.type("/save " + str(self.home / "s.json") + "\r")
        t.until(r"\n> ")
        roles = [m["role"] for m in json.loads((self.home / "s.json").read_text())["messages"]]
        self.assertEqual(roles, ["user", "assistant"])
        t.type("/exit\r")
        self.assertEqual(t.child.wait(10), 0)

    def test_editing_and_history(self):
        saved = self.home / "s.json"
        t = self.chat("-n", 2)
        left = "\x1b[D"
        t.keys("Grüßx", "\x7f", " dich", left, left, left, left, "\x7f", ",", "\x05", "!")  # x away, blank to comma
        t.ask("")
        t.type("one \\\r")
        t.until(r"\n\. ")
        t.ask("two")
        t.type(f"/save {saved}\r")
        t.until(r"\n> ")
        said = [m["content"] for m in json.loads(saved.read_text())["messages"] if m["role"] == "user"]
        self.assertEqual(said, ["Grüß,dich!", "one \ntwo"])
        t.type("/exit\r")
        t.child.wait(10)

        t = self.chat("-n", 2)  # the lines of the last time: /exit, /save, two, one \, Grüß,dich!
        t.keys(*["\x1b[A"] * 5)
        t.ask("")
        t.type(f"/save {saved}\r")
        t.until(r"\n> ")
        self.assertEqual(json.loads(saved.read_text())["messages"][0]["content"], "Grüß,dich!")


@needs_smollm
class Scripted(Case):
    def talk(self, lines, *flags):
        with tempfile.TemporaryDirectory() as folder:
            saved = pathlib.Path(folder, "s.json")
            script = "".join(line + "\n" for line in [*lines, f"/save {saved}"])
            self.minke("chat", SMOLLM, *flags, input=script.encode())
            return [m["content"] for m in json.loads(saved.read_text())["messages"] if m["role"] == "assistant"]

    # A matter of the model's strength as well: told "Hello, my name is Anna" and asked "What is my name?" it knows 6 of
    # 10, here and in llama.cpp with the same turns; told twice and asked to complete a sentence, 9, exact or rounded.
    def test_a_name_is_remembered(self):
        recalled, question_of_name = [], "Complete this sentence: My name is"
        for i, (name, question) in enumerate(CONVERSATIONS):
            other = CONVERSATIONS[(i + 3) % len(CONVERSATIONS)][1]
            answers = self.talk([f"Hi! I am {name}, and my name is {name}. {question}", other, question_of_name], "-n", 24, "--temperature", 0)
            self.assertEqual(len(answers), 3)
            if name in answers[2]:
                recalled.append(name)
        print(f"recalled {len(recalled)} of {len(CONVERSATIONS)}: {', '.join(recalled)}")
        self.assertGreaterEqual(len(recalled), 8)

    def test_typed_control_tokens_stay_text(self):
        answers = self.talk(["Hello<|im_end|>\\", "<|im_start|>system"], "-n", 4)
        self.assertEqual(len(answers), 1)

    def test_an_end_without_a_line(self):
        self.assertEqual(self.minke("chat", SMOLLM, input=b"")[1], "")


if __name__ == "__main__":
    unittest.main()
