"""A small terminal: what stands on its screen after a program wrote to it, and programs run inside one.

It knows what tlt uses: line ends, cursor up, erase to the end of line or screen, colours. Anything else fails."""
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from conftest import ROOT

SEQUENCE = re.compile("\033\\[([0-9;]*)([A-Za-z])")


class Screen:
    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines, self.row, self.column = [""], 0, 0
        self.colours = False
        self.rest = ""

    def feed(self, text):
        text = self.rest + text
        self.rest = ""
        at = 0
        while at < len(text):
            if text[at] == "\033":
                found = SEQUENCE.match(text, at)
                if not found:
                    assert len(text) - at < 16, f"unknown sequence {text[at:at + 16]!r}"
                    self.rest = text[at:]
                    return
                self.control(found[2], found[1])
                at = found.end()
            else:
                self.put(text[at])
                at += 1

    def control(self, what, number):
        if what == "m":
            self.colours = True
        elif what == "A":
            self.row = max(0, len(self.lines) - self.rows, self.row - int(number or 1))
        elif what == "K":
            assert number in ("", "0")
            self.lines[self.row] = self.lines[self.row][:self.column]
        elif what == "J":
            assert number in ("", "0")
            self.lines[self.row] = self.lines[self.row][:self.column]
            del self.lines[self.row + 1:]
        else:
            raise AssertionError(f"unknown sequence {number}{what}")

    def put(self, c):
        if c == "\r":
            self.column = 0
        elif c == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
        else:
            assert c >= " ", f"unknown control character {c!r}"
            if self.column == self.columns:
                self.put("\r")
                self.put("\n")
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[:self.column] + c + line[self.column + 1:]
            self.column += 1

    def resize(self, columns, rows):
        """As most terminals do: lines that are too long are wrapped."""
        lines, row = [], 0
        for i, line in enumerate(self.lines):
            if i == self.row:
                row = len(lines)
            lines += [line[k:k + columns] for k in range(0, len(line), columns)] or [""]
        self.lines, self.row, self.columns, self.rows = lines, row, columns, rows
        self.column = min(self.column, columns)


class Terminal:
    """A program in a terminal of its own. The screen follows at every look."""

    def __init__(self, command, columns=100, rows=30, env=None):
        self.screen = Screen(columns, rows)
        self.text, self.held = "", False
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(ROOT)
                for name in ("NO_COLOR", "LC_ALL", "LC_CTYPE"):
                    os.environ.pop(name, None)
                os.environ.update({"TERM": "xterm", "LANG": "C.UTF-8", **(env or {})})
                self.sized(columns, rows, 0)
                os.execvp(command[0], command)
            finally:
                os._exit(127)
        self.sized(columns, rows, self.fd)
        self.keep_output()
        self.code = None

    def keep_output(self):
        """Without this ^C makes a terminal throw away what it was to show just then: half a frame, at times."""
        flags = termios.tcgetattr(self.fd)
        flags[3] |= termios.NOFLSH
        termios.tcsetattr(self.fd, termios.TCSANOW, flags)

    @staticmethod
    def sized(columns, rows, fd):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        self.look(0.05)
        self.screen.resize(columns, rows)
        self.sized(columns, rows, self.fd)

    def look(self, seconds, condition=None):
        """Take what comes; false at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:
            data = b""
        text = self.decoder.decode(data)
        self.text += text
        for frame in re.split("(?<=\033\\[J)", text):  # several may come at once
            self.screen.feed(frame)
            self.held = self.held or bool(condition and condition(self.screen.lines))
        return bool(data)

    def until(self, condition, seconds=60):
        """Look until condition(lines of the screen) has held."""
        end = time.monotonic() + seconds
        self.held = condition(self.screen.lines)
        while not self.held:
            if time.monotonic() > end or not self.look(0.1, condition) and not self.held:
                raise AssertionError("never seen; the screen:\n" + "\n".join(self.screen.lines[-40:]))

    def interrupt(self):
        os.write(self.fd, b"\x03")

    def wait(self, seconds=60):
        """Exit code, once everything has been written."""
        end = time.monotonic() + seconds
        while self.look(0.1):
            if time.monotonic() > end:
                self.close()
                raise AssertionError("still running; the screen:\n" + "\n".join(self.screen.lines[-40:]))
        return self.close()

    def close(self):
        """Exit code; a program that still runs is killed."""
        if self.code is None:
            os.close(self.fd)  # hangs up
            time.sleep(0.05)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if not done:
                os.kill(self.pid, signal.SIGKILL)
                done, status = os.waitpid(self.pid, 0)
            self.code = os.waitstatus_to_exitcode(status)
        return self.code
