#!/usr/bin/env python3
"""A reward program for `reward: {command: "python3 examples/reward.py"}`.

tlt starts several of these and talks to each in JSON lines: a hello both ways, then one request per
completion, answered by its id in any order. Print nothing else on stdout; stderr is shown when
something goes wrong. The program ends when stdin does.

This one gives 1 for a countdown answer that is right (meta holds the numbers and the target), 0.1 for
one that is an expression but wrong, 0 otherwise.
"""
import ast
import json
import operator
import re
import sys
from collections import Counter
from fractions import Fraction

OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(node, numbers):
    """Value of an expression of numbers and + - * /; the numbers met are added to the list."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        left, right = evaluate(node.left, numbers), evaluate(node.right, numbers)
        return OPERATIONS[type(node.op)](left, right)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        numbers.append(node.value)
        return Fraction(node.value)
    raise ValueError("not a sum, difference, product or quotient of whole numbers")


def reward(completion, meta):
    answers = re.findall(r"^answer:? *([0-9+*/() -]{1,200})$", completion, re.MULTILINE)
    if not answers:
        return 0.0
    numbers = []
    try:
        value = evaluate(ast.parse(answers[-1].strip(), mode="eval").body, numbers)
    except (ValueError, SyntaxError, ZeroDivisionError):
        return 0.0
    right = value == meta["target"] and Counter(numbers) == Counter(meta["numbers"])
    return 1.0 if right else 0.1


def main():
    for line in sys.stdin:
        request = json.loads(line)
        if "hello" in request:
            reply = {"hello": "countdown example", "version": 1}
        else:
            reply = {"id": request["id"], "reward": reward(request["completion"], request["meta"])}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
