"""Token ids against Hugging Face tokenizers, on more than 1 MB of mixed text per tokenizer."""
import functools
import glob
import json
import os
import random
import unicodedata

import pytest
from tokenizer_tool import decode, encode, run_tool

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import AddedToken, Regex, Tokenizer  # noqa: E402
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
CASED = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ll)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ll)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])


def source_code(n_bytes):
    out, size = [], 0
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py"))):
        with open(path, encoding="utf-8", errors="ignore") as f:
            out.append(f.read())
        size += len(out[-1])
        if size >= n_bytes:
            break
    return "".join(out)[:n_bytes]


FRAGMENTS = [
    " ", "  ", "\n", "\r\n", "\t", "\u3000", "\u00a0", "\u180e", "\x85", "\u2028", "\x0b", "a", "Zz", "é",
    "e\u0301", "A\u030a\u0323", "日本語", "한국", "\u1100\u1161", "🎉", "👩\u200d👩\u200d👧🏽", "123", "4567890",
    "४५", "½", "Ⅷ", "'s", "'LL", "'ſ", "don't", "_", "...", "==", "<|im", "end|>", "\x04", "\x1f", "\u0300\u0316",
    "ﬁ", "Å", "\u212b", "x" * 30, " " * 40, "İ", "ß", "\u200d", "<", "|", "שלום", "مرحبا", "नमस्ते", "ไทย",
    "if (x) {\n\t", "https://a.b/c?d=%20", "\\frac{1}{2}", "<|im_start|>user\n", "<|endoftext|>", "solo",
]


def fragments(seed, extra, count):
    rng = random.Random(seed)
    pool = FRAGMENTS + extra
    return "".join(rng.choice(pool) for _ in range(count))


def every_character(seed):
    rng = random.Random(seed)
    return "".join(chr(c) + (" " if rng.random() < 0.3 else "")
                   for c in range(1, 0x30000) if not 0xD800 <= c < 0xE000)


# Marks that came with Unicode 15 to 17: which tables know them depends on the versions of Python, of the peer and of
# utf8proc. U+11930 is older, but composes in newer tables only.
YOUNG_MARKS = [(0x897, 0x897), (0xCF3, 0xCF3), (0xECE, 0xECE), (0x1ACF, 0x1AFF), (0x10D69, 0x10D6D),
               (0x10EFA, 0x10EFF), (0x11241, 0x11241), (0x113B8, 0x113E2), (0x11930, 0x11930), (0x11B60, 0x11B67),
               (0x11F00, 0x11F5A), (0x13440, 0x13455), (0x1611E, 0x1612F), (0x1E08F, 0x1E08F), (0x1E4EC, 0x1E4EF),
               (0x1E5EE, 0x1E5EF), (0x1E6E3, 0x1E6F5)]


def marked_letters(seed):
    rng = random.Random(seed)
    marks = [chr(c) for c in range(0x300, 0x20000) if unicodedata.category(chr(c))[0] == "M"
             and not any(a <= c <= b for a, b in YOUNG_MARKS)]
    bases = [chr(c) for c in [*range(0x41, 0x5B), *range(0xC0, 0x250), *range(0x370, 0x500),
                              *range(0x900, 0xE00), *range(0x1100, 0x1200), *range(0x1E00, 0x2000)]]
    return "".join(rng.choice(bases) + "".join(rng.choice(marks) for _ in range(rng.randint(0, 4)))
                   for _ in range(40000))


@functools.lru_cache
def fixed_corpora():
    return {"code": source_code(500_000), "characters": every_character(1), "marks": marked_letters(2)}


def check(directory, full=False, back="exact"):
    """Ids of every corpus equal in both readings of special tokens. Decoding gives the text back
    ("exact"), up to normalisation where an added token is spelled otherwise ("normal"), or what the
    reference gives where text is lost by design ("reference")."""
    reference = Tokenizer.from_file(f"{directory}/tokenizer.json")
    normalise = reference.normalizer.normalize_str if reference.normalizer else lambda t: t
    added = [t.content for t in reference.get_added_tokens_decoder().values()]
    corpora = {"fragments": fragments(3, added, 40_000 if full else 10_000)}
    if full:
        corpora.update(fixed_corpora())
    for name, text in corpora.items():
        for special in (True, False):
            reference.encode_special_tokens = not special
            want = reference.encode(text, add_special_tokens=False).ids
            got = encode(directory, text, special)
            if got != want:
                at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), len(got))
                pytest.fail(f"{name}, special={special}: token {at} of {len(want)}: "
                            f"got {got[at:at + 5]}, expected {want[at:at + 5]}")
            text_back = decode(directory, got).decode(errors="replace")
            if back == "exact":
                assert text_back == normalise(text)
            elif back == "normal":
                assert normalise(text_back) == normalise(text)
            if back != "normal":
                assert text_back == reference.decode(want, skip_special_tokens=False)
    if full:
        assert sum(len(text.encode()) for text in corpora.values()) > 1_000_000


def build(directory, pre_tokenizer, normalizer=None, ignore_merges=False, added=()):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    # without the special tokens' own spelling, which merges could otherwise produce
    text = source_code(300_000) + fragments(9, [], 5000).replace("|>", " ")
    tokenizer.train_from_iterator([text[i:i + 10000] for i in range(0, len(text), 10000)],
                                  trainers.BpeTrainer(vocab_size=4000, show_progress=False,
                                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False)
                                  for s in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")])
    tokenizer.add_tokens(list(added))
    tokenizer.save(f"{directory}/tokenizer.json")
    return str(directory)


def split(pattern, behavior="isolated", prefix=False):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior, invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)])


QWEN_ADDED = [AddedToken(s, normalized=False) for s in
              ("<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_response>")]
ODD_ADDED = [AddedToken("café", normalized=True), AddedToken("e\u0301Y", normalized=True),
             AddedToken("solo", single_word=True, normalized=True), AddedToken("  ", normalized=False)]


def test_smollm2(smollm2):
    check(smollm2, full=True, back="reference")  # it has no token for some control bytes, which are dropped


def test_qwen_style(tmp_path):
    check(build(tmp_path, split(QWEN), normalizers.NFC(), added=QWEN_ADDED), full=True)


def test_llama3_style(tmp_path):
    check(build(tmp_path, split(LLAMA3), ignore_merges=True))


def test_cased_pattern_and_odd_added_tokens(tmp_path):
    check(build(tmp_path, split(CASED), normalizers.Sequence([normalizers.NFC()]), added=ODD_ADDED),
          back="normal")


def test_stripping_added_tokens(tmp_path):
    added = [AddedToken("<L>", lstrip=True, normalized=False), AddedToken("<R>", rstrip=True, normalized=False),
             AddedToken("<B>", lstrip=True, rstrip=True, normalized=True)]
    check(build(tmp_path, split(QWEN), normalizers.NFC(), added=added), back="reference")


@pytest.mark.parametrize("pattern, behavior", [
    (r"\s+", "removed"), (r"\p{P}", "merged_with_previous"), (r"\p{P}", "merged_with_next"),
    (r"\p{N}", "contiguous"), (r"\p{Lu}?\p{Ll}*", "isolated")])
def test_split_behaviors(tmp_path, pattern, behavior):
    check(build(tmp_path, split(pattern, behavior, prefix=behavior == "removed")),
          back="reference")


def test_digits_and_byte_level(tmp_path):
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    check(build(tmp_path, pre_tokenizers.Sequence(steps)))


def test_inverted_split(tmp_path):
    steps = [pre_tokenizers.Split(Regex(r"\p{L}+"), "removed", invert=True),
             pre_tokenizers.ByteLevel(add_prefix_space=True)]
    check(build(tmp_path, pre_tokenizers.Sequence(steps)), back="reference")


def naive_merges(words, n):
    """The definition of BPE training, without any bookkeeping."""
    split_words = {w: [bytes([b]) for b in w] for w in words}
    merges, known = [], set()
    while len(merges) < n:
        counts = {}
        for w, parts in split_words.items():
            for pair in zip(parts, parts[1:]):
                counts[pair] = counts.get(pair, 0) + words[w]
        counts = {p: c for p, c in counts.items() if p[0] + p[1] not in known and c >= 2}
        if not counts:
            break
        best = min(counts, key=lambda p: (-counts[p], p))
        merges.append(best)
        known.add(best[0] + best[1])
        for w, parts in split_words.items():
            i, out = 0, []
            while i < len(parts):
                hit = i + 1 < len(parts) and (parts[i], parts[i + 1]) == best
                out.append(parts[i] + parts[i + 1] if hit else parts[i])
                i += 2 if hit else 1
            split_words[w] = out
    return merges


def byte_alphabet():
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {chr(b): b for b in plain}, 0
    for b in range(256):
        if b not in plain:
            table[chr(256 + extra)] = b
            extra += 1
    return table


def test_training_follows_the_definition(tmp_path):
    text = fragments(5, [], 3000) + source_code(20_000) + "aaaa aaaaa aaaaaaa " * 20
    text = text.encode(errors="ignore").decode()
    run_tool(tmp_path, "train", 700, "<|eos|>", "<|x|>", stdin=text.encode())
    data = json.load(open(tmp_path / "tokenizer.json", encoding="utf-8"))
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False)])
    table, words = byte_alphabet(), {}
    for word, _ in pre.pre_tokenize_str(text):
        key = bytes(table[c] for c in word)
        words[key] = words.get(key, 0) + 1
    got = [tuple(bytes(table[c] for c in part) for part in merge) for merge in data["model"]["merges"]]
    assert got == naive_merges(words, 700 - 2 - 256)
    assert len(data["model"]["vocab"]) == 700


def test_trained_tokenizer_is_the_same_for_hugging_face(tmp_path):
    run_tool(tmp_path, "train", 2000, "<|eos|>", "<|im_start|>", "<|im_end|>",
             stdin=source_code(1_000_000).encode())
    check(str(tmp_path), full=True)
    transformers = pytest.importorskip("transformers")
    loaded = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert loaded.eos_token == "<|eos|>" and loaded.eos_token_id == 0 and len(loaded) == 2000


def test_program_gives_the_same_ids(tlt, smollm2):
    text = fragments(7, [], 2000)
    code, out, err = tlt("tokenize", "--model", smollm2, stdin=text.encode())
    assert code == 0, err
    assert json.loads(out) == encode(smollm2, text, special=False)
