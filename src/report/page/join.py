#!/usr/bin/env python3
"""Joins the page's parts into one C file: join.py page.html page.css chart.js OUT.c PART.js...

The template has four places: @STYLE@, @CHART@, @PAGE@ (all parts, in one function) and, kept open for
report/page.c, @CONNECT@ and @DATA@. @POLICY-SCRIPT@ and @POLICY-STYLE@ become the hashes of what stands in the
elements, so that a browser runs nothing else."""
import base64
import hashlib
import sys


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def policy(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def inside(text, element, path):
    if "</" + element in text.lower() or "<!--" in text:
        sys.exit(f"{path}: holds an end of its {element} element")
    return text


def literal(text):
    """C string literals, one per line of the text (bytes above ASCII and quotes as octal)."""
    out = []
    for line in text.encode().splitlines(keepends=True):
        for at in range(0, len(line), 4000):
            chunk = line[at:at + 4000]
            out.append('"' + "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}"
                                     for b in chunk) + '"')
    return "\n".join(out)


def main():
    template, style, chart, out, *parts = sys.argv[1:]
    css = inside(read(style), "style", style)
    library = inside(read(chart), "script", chart)
    page = inside('(function () {\n"use strict";\n' + "\n".join(map(read, parts)) + "\n})();\n", "script", "page")
    html = read(template)
    for place, text in [("@POLICY-SCRIPT@", policy(library) + " " + policy(page)), ("@POLICY-STYLE@", policy(css)),
                        ("@STYLE@", css), ("@CHART@", library), ("@PAGE@", page)]:
        if html.count(place) != 1:
            sys.exit(f"{template}: expected {place} once")
        before, after = html.split(place)
        html = before + text + after
    head, rest = html.split("@CONNECT@")
    middle, tail = rest.split("@DATA@")
    with open(out, "w", encoding="ascii") as f:
        f.write('#include "report/page_parts.h"\n')
        for name, text in [("head", head), ("middle", middle), ("tail", tail)]:
            f.write(f"static const char {name}[] =\n{literal(text)};\n"
                    f"const tlt_page_part tlt_page_{name} = {{{name}, sizeof {name} - 1}};\n")


main()
