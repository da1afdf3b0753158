"""Makes tests/golden/tokenizer with Hugging Face tokenizers and transformers as the reference.

    python tools/golden_tokenizer.py [OUT]      (default: tests/golden/tokenizer)

Three small tokenizers (byte-level BPE with about 500 tokens each) with texts and their ids, and
template snippets with what transformers' Jinja environment renders. Output is deterministic."""

import json
import os
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import trainers
from transformers.utils.chat_template_utils import _compile_jinja_template

CORPUS = """The quick brown fox doesn't jump over 12 lazy dogs; it's 3,141 steps away.
Using the numbers 25, 7 and 4, make 96: 25 * 4 = 100, 100 - 4 = 96. That's right, isn't it?
for (int i = 0; i < n; i++) { sum += values[i] * weights[i]; }
def step(state, action):\n    if action is None:\n        return state\n    return state + action
Der Fluss fließt ruhig; die Bäume wiegen sich. Où est le café? El niño comió mañana.
Reasoning: first we try 25 + 7 = 32, then 32 * 4 = 128. No. Then 25 - 7 = 18, 18 * 4 = 72. No.
すべての人間は、生まれながらにして自由である。你好，世界。안녕하세요 세계.
"""

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def train(pre_tokenizer, normalizer=None, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([CORPUS] * 3, trainers.BpeTrainer(
        vocab_size=480, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    return tokenizer


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior, invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def make_tokenizers():
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                      pre_tokenizers.ByteLevel(add_prefix_space=False)])
    qwen = train(split(QWEN), normalizers.NFC())
    qwen.add_tokens([
        AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False),
        AddedToken("caf\u00e9s", normalized=True), AddedToken("solo", single_word=True),
        AddedToken("<left>", lstrip=True, normalized=False),
        AddedToken("<right>", rstrip=True, normalized=False)])
    llama = train(split(LLAMA), ignore_merges=True)
    return {"digits": train(digits), "qwen": qwen, "llama": llama}


TEXTS = [
    "", " ", "a", "Hello, world!", "The quick brown fox", "  two  spaces  ", "\n\n\n", "a\r\nb\r\n",
    "tab\tand\u00a0nbsp\u3000wide", "it's IT'S they'Ll don't 'Re", "1234567890", "3.14159e-10",
    "x+=y<<2;//comment", "for (int i = 0; i < 10; i++) {\n\tprintf(\"%d\\n\", i);\n}\n",
    "cafe\u0301s cafés caf\u00e9s", "A\u030a\u0323 \u1100\u1161\u11a8", "\u0958 \u2126 \u212b",
    "日本語のテキスト、漢字とかな", "안녕하세요", "مرحبا بالعالم", "שלום", "नमस्ते १२३", "Ünïcödé ß ſ",
    "🎉👩‍👩‍👧🏽 ❤️", "½ ² Ⅷ ٣", "<|im_start|>user\nhi<|im_end|>", "<|im_start|", "<|im_end|><|im_end|>",
    "x <left> y", "x   <left>   y", "x <right>   y", "solo solos a solo, _solo", "<think>\nok</think>",
    "\x01control\x7f", "a" * 100, " " * 70 + "x", "\u200b\u200d\ufeff", "e\u0334\u0300\u0301\u0316",
    "tail space ", "\u180e \u0085 \u2028", "http://example.com/a?b=c&d=%20", "''''''''", "\\n \\\\",
]


def write(path, text):
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)


def string_merges(text):
    data = json.loads(text)
    data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def write_tokenizers(out):
    for name, tokenizer in make_tokenizers().items():
        os.makedirs(f"{out}/{name}", exist_ok=True)
        text = tokenizer.to_str()
        if name == "qwen":
            text = string_merges(text)
        write(f"{out}/{name}/tokenizer.json", text if text.endswith("\n") else text + "\n")
        config = {"bos_token": None, "eos_token": {"content": "<|im_end|>"},
                  "pad_token": "<|endoftext|>", "model_max_length": int(1e30)}
        write(f"{out}/{name}/tokenizer_config.json", json.dumps(config) + "\n")
        lines = []
        for text in TEXTS:
            tokenizer.encode_special_tokens = False
            special = tokenizer.encode(text, add_special_tokens=False).ids
            tokenizer.encode_special_tokens = True
            plain = tokenizer.encode(text, add_special_tokens=False).ids
            lines.append(json.dumps({"text": text, "special": special, "plain": plain}))
        write(f"{out}/{name}/cases.jsonl", "".join(line + "\n" for line in lines))


CONTEXT = {
    "s": "  Hello Wörld  ", "name": "Ada", "n": 7, "f": 2.5, "t": True, "none_value": None,
    "empty": [], "list": [3, 1, 2], "words": ["a", "b", "c"],
    "d": {"k": "v", "z": 1, "nested": {"deep": [1, {"x": "y"}]}},
    "users": [{"name": "A", "on": True, "age": 3}, {"name": "B", "on": False, "age": 5},
              {"name": "C", "on": True, "age": 5}],
    "quote": "a\"b\\c\n\u00e9\u20ac\U0001f600<&>\u0001\x7f",
}

SNIPPETS = [
    # literals, output, operators
    "{{ 1 }} {{ -2 }} {{ 2.0 }} {{ 0.1 }} {{ 1e20 }} {{ 1e-7 }} {{ 123456789.125 }} {{ 1_000 }}",
    "{{ true }} {{ False }} {{ none }} {{ missing }}|{{ missing.__class__ if false }}|",
    "{{ 'a' 'b' }}{{ \"c\\n\\t\\x41\\u00e9\\\\\\'\" }}{{ 'q\\q' }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 * 3 + 4 }}",
    "{{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 + 2.5 }} {{ 2 - 5 }} {{ 'ab' * 3 }} {{ +n }} {{ -n + 1 }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 2.5 }} {{ 'x' + 'y' }} {{ ([1] + [2]) | length }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ 1 != 2 }} {{ 'a' == 1 }}",
    "{{ 'ell' in 'hello' }} {{ 3 in list }} {{ 9 not in list }} {{ 'k' in d }} {{ 'v' in d }}",
    "{{ not t }} {{ t and 0 }} {{ 0 or 'x' }} {{ t and 'y' or 'z' }} {{ not none_value and 1 }}",
    "{{ 'a' if t else 'b' }} {{ 'a' if not t }}| {{ 1 if 0 else 2 if 0 else 3 }}",
    "{{ [1, 2, 3,] | length }} {{ (1, 2)[1] }} {{ () | length }} {{ {'a': 1, 'b': {}}['a'] }}",
    # attributes, items, slices
    "{{ d.k }} {{ d['k'] }} {{ d.nested.deep[1].x }} {{ d.nested['deep'].0 }} {{ d.missing }}|",
    "{{ list[0] }} {{ list[-1] }} {{ list[9] }}|{{ name[0] }}{{ name[-1] }} {{ s[2:5] }}",
    "{{ words[::-1] | join }} {{ words[1:] | join }} {{ words[:-1] | join }} {{ words[::2] | join }}",
    "{{ words[-2:] | join }} {{ words[5:] | join }}| {{ name[::-1] }} {{ words[2:0:-1] | join }}",
    "{{ users[0].name }} {{ users[0]['on'] }} {{ users | length }} {{ d.items() | length }}",
    # methods
    "{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'ab'.upper() }}",
    "{{ 'a,b,,c'.split(',') | length }} {{ ' a  b '.split() | join('-') }} {{ 'abcabc'.split('b')[-1] }}",
    "{{ 'a-b-c'.split('-', 1)[1] }} {{ 'hello'.startswith('he') }} {{ 'hello'.endswith(('x', 'lo')) }}",
    "{{ 'hello'.replace('l', 'L') }} {{ 'hello'.replace('l', 'L', 1) }} {{ 'hello'.find('l') }}",
    "{{ 'hello'.count('l') }} {{ 'hello world'.title() }} {{ 'hELLO'.capitalize() }} {{ 'abc'.find('z') }}",
    "{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.py'.removesuffix('.py') }} {{ ','.join(words) }}",
    "{{ d.get('k') }} {{ d.get('zz', 'def') }} {{ d.get('zz') }} {{ d.keys() | list | length }}",
    "{% for k, v in d.items() %}{{ k }};{% endfor %}{% for v in {'a': 1}.values() %}{{ v }}{% endfor %}",
    # filters
    "{{ s | trim }}|{{ s | trim | length }}|{{ s | upper }}|{{ 'ABC' | lower }}|{{ 'aBC' | capitalize }}",
    "{{ missing | default('x') }} {{ '' | default('x') }}| {{ '' | default('x', true) }} {{ none | d(1) }}",
    "{{ words | first }} {{ words | last }} {{ words | join(', ') }} {{ list | length }} {{ words | count }}",
    "{{ 5 | string + 'x' }} {{ '12' | int + 1 }} {{ 'x' | int }} {{ 2.7 | int }} {{ -3 | abs }}",
    "{{ 'a b' | replace(' ', '_') }} {{ words | reverse | join }} {{ 'abc' | reverse }} {{ 'x' | safe }}",
    "{{ users | selectattr('on') | map(attribute='name') | join }} {{ users | rejectattr('on') | list | length }}",
    "{{ users | selectattr('age', 'equalto', 5) | map(attribute='name') | join(',') }} {{ words | map('upper') | join }}",
    "{{ [0, 1, none, 2] | select | list | length }} {{ list | select('odd') | join }} {{ list | reject('odd') | join }}",
    "{{ d | items | list | length }} {{ 'abc' | list | join('.') }} {{ -n | abs }} {{ n | string | length }}",
    # tojson
    "{{ d | tojson }}", "{{ quote | tojson }}", "{{ quote | tojson(ensure_ascii=true) }}",
    "{{ d | tojson(indent=2) }}", "{{ users | tojson(indent=4) }}", "{{ [] | tojson(indent=1) }}{{ {} | tojson }}",
    "{{ [1, 2.5, true, none, 1e20, 'x'] | tojson }}", "{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}",
    # tests
    "{{ missing is defined }} {{ n is defined }} {{ missing is undefined }} {{ none is none }} {{ n is not none }}",
    "{{ s is string }} {{ d is mapping }} {{ list is sequence }} {{ list is iterable }} {{ n is iterable }}",
    "{{ n is number }} {{ n is integer }} {{ f is float }} {{ t is boolean }} {{ t is true }} {{ t is false }}",
    "{{ n is odd }} {{ n is even }} {{ n is equalto 7 }} {{ n is eq(8) }} {{ 3 is in list }} {{ n is gt 3 }}",
    "{{ d.missing is defined and d.missing }} {{ not d.k is defined }} {{ (n is odd) and f is float }}",
    # statements
    "{% for x in list %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for x in list %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }} {% endfor %}",
    "{% for x in words %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in empty %}x{% else %}none{% endfor %} {% for x in missing %}x{% else %}gone{% endfor %}",
    "{% for u in users if u.on %}{{ loop.index }}{{ u.name }}{{ loop.last }} {% endfor %}",
    "{% for c in 'aé' %}[{{ c }}]{% endfor %}{% for k in d %}{{ k }} {% endfor %}{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in range(1, 10, 3) %}{{ i }} {% endfor %}{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}",
    "{% for a in words %}{% for b in list %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% if n > 9 %}big{% elif n > 5 %}mid{% elif n > 1 %}low{% else %}none{% endif %}{% if 0 %}x{% endif %}",
    "{% set x = 1 %}{% for i in list %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}",
    "{% set ns = namespace(total=0, seen=[]) %}{% for i in list %}{% set ns.total = ns.total + i %}{% endfor %}{{ ns.total }}{{ ns.none_here }}",
    "{% set a, b = (1, 2) %}{{ a }}{{ b }}",
    "{% set x %}block {{ n }}{% endset %}[{{ x }}] {% set y | upper | trim %} text {% endset %}[{{ y }}]",
    "{% if t %}{% set inner = 5 %}{% endif %}{{ inner }}{% if false %}{% set other = 1 %}{% endif %}{{ other }}",
    "{% macro m(a, b='d') %}<{{ a }}{{ b }}{{ n }}>{% endmacro %}{{ m(1) }}{{ m(2, 'x') }}{{ m(b='y', a=3) }}{{ m() }}",
    "{% macro fact(k) %}{{ 1 if k <= 1 else k * (fact(k - 1) | int) }}{% endmacro %}{{ fact(5) }}",
    "{% raw %}{{ not }} {% this %}{% endraw %}{# comment {{ x }} #}end",
    "{% generation %}said {{ n }}{% endgeneration %}",
    "{{ dict(a=1, b=2).b }} {{ dict({'q': 9}).q }} {{ namespace(z=3).z }}",
    # white space control
    "a\n  {% if t %}\n  b\n  {% endif %}\n  c\n", "a {%- if t %} b {%- endif -%}  c", "x\n  {{- n -}}\n y",
    "a\n  {%+ if t %} b{% endif +%}\n c", "  {# c #}\n  d\n  {#- e -#}  f", "{% if t -%}\n\n  g\n{%- endif %}\n\nh\n\n",
    "a\r\nb\rc\n{% if t %}\r\nd{% endif %}\r\n", "{% for x in words %}\n  {{ x }}\n{% endfor %}\nend",
    "\t{% set q = 1 %}\n\t{{ q }}\n{% if t %}x{% endif %}  {% if t %}y{% endif %}\n",
    "{{ {'a': {'b': 1}}.a.b }}{{ '}}' }}{{ '%}' }}{% set z = {'x': [1, {'y': 2}]} %}{{ z.x[1].y }}",
    "{{ '<' ~ s|trim ~ '>' }}{{ 'a' + s|trim + 'b' }}{{ (s + 'x')|trim|length }}",
]


def write_snippets(out):
    lines = []
    for source in SNIPPETS:
        try:
            want = _compile_jinja_template(source).render(**CONTEXT)
        except Exception as e:
            sys.exit(f"{source}: {e}")
        lines.append(json.dumps({"template": source, "want": want}))
    write(f"{out}/snippets.jsonl", json.dumps({"context": CONTEXT}) + "\n" +
          "".join(line + "\n" for line in lines))


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/tokenizer"
    os.makedirs(out, exist_ok=True)
    write_tokenizers(out)
    write_snippets(out)


if __name__ == "__main__":
    main()
