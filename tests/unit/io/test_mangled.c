/* Every parser survives damaged input: good files with bytes changed, cut, doubled or dropped must
 * be read or refused with the right status, never crash, hang or (under ASan and UBSan) touch
 * memory that is not theirs. The damage is drawn from fixed seeds, so a failure repeats.
 * Run alone: build/tests/unit/io/test_mangled */
#include "scratch.h"
/* the rest after it */
#include "base/mem.h"
#include "base/philox.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/yaml.h"

enum { ROUNDS = 1500, LONGEST = 4096 };

/* ---- Damage ---- */

typedef struct input {
  char bytes[LONGEST];
  size_t n;
} input;

static void mangle_once(input *in, tlt_stream *random) {
  static const char lively[] = "{}[]\",:0-9e\\\n\t &*!#'\xff\x80\xed\0";
  if (in->n == 0) return;
  size_t at = tlt_stream_below(random, (uint32_t)in->n);
  size_t run = 1 + tlt_stream_below(random, 8);
  if (run > in->n - at) run = in->n - at;
  switch (tlt_stream_below(random, 5)) {
    case 0: in->bytes[at] ^= (char)(1 << tlt_stream_below(random, 8)); return;
    case 1: in->bytes[at] = lively[tlt_stream_below(random, sizeof lively)]; return;
    case 2: in->n = at; return;
    case 3:
      memmove(in->bytes + at, in->bytes + at + run, in->n - at - run);
      in->n -= run;
      return;
    default:
      if (in->n + run > LONGEST) return;
      memmove(in->bytes + at + run, in->bytes + at, in->n - at);
      in->n += run;
  }
}

/* Try good damaged in ROUNDS ways; each must end in TLT_OK or `refusal`. */
static void try_all(const char *name, const void *good, size_t n, tlt_status refusal,
                    tlt_status (*parse)(const input *, tlt_err *)) {
  int refused = 0;
  for (uint32_t round = 0; round < ROUNDS; round++) {
    tlt_stream random = tlt_stream_open(round, TLT_PURPOSE_TASK, 0, 0, 0);
    input in = {.n = n};
    tlt_err err = {0};
    memcpy(in.bytes, good, n);
    for (uint32_t k = 1 + tlt_stream_below(&random, 4); k > 0; k--) mangle_once(&in, &random);
    tlt_status status = parse(&in, &err);
    if (status != TLT_OK && status != refusal)
      fail_msg("%s round %u: status %d: %s", name, round, (int)status, err.text);
    if (status != TLT_OK && !err.text[0]) fail_msg("%s round %u: no text", name, round);
    refused += status != TLT_OK;
  }
  assert_in_range(refused, ROUNDS / 10, ROUNDS);
}

/* ---- Parsers ---- */

static tlt_status parse_tensors(const input *in, tlt_err *err) {
  tlt_st_set *set;
  float x[64];
  scratch_file("t", in->bytes, in->n);
  tlt_status status = tlt_st_open(scratch("t"), &set, err);
  for (size_t i = 0; status == TLT_OK && i < tlt_st_count(set); i++) {
    const tlt_st_tensor *t = tlt_st_at(set, i);
    size_t size = tlt_dtype_size(t->dtype);
    if (!size || t->bytes / size > 64) continue;
    status = tlt_st_read_f32(set, t, 0, (size_t)t->bytes / size, x, err);
  }
  tlt_st_close(set);
  return status;
}

static void tensors(void **state) {
  (void)state;
  tlt_st_writer *w;
  char *good;
  size_t n;
  assert_ok(tlt_st_create(scratch("good"), &w, &err));
  assert_ok(tlt_st_declare(w, "model.a", TLT_F32, (int64_t[]){2, 3}, 2, &err));
  assert_ok(tlt_st_declare(w, "model.b", TLT_BF16, (int64_t[]){4}, 1, &err));
  assert_ok(tlt_st_write(w, "0123456789012345678901234567890123456789", 32, &err));
  assert_ok(tlt_st_finish(w, &err));
  assert_ok(tlt_file_load(scratch("good"), LONGEST, &good, &n, &err));
  try_all("safetensors", good, n, TLT_EDATA, parse_tensors);
  tlt_free(good);
}

static tlt_status parse_jsonl(const input *in, tlt_err *err) {
  tlt_jsonl *r;
  json_t *line = NULL;
  scratch_file("l", in->bytes, in->n);
  tlt_status status = tlt_jsonl_open(scratch("l"), &r, err);
  do {
    json_decref(line);
    if (status == TLT_OK) status = tlt_jsonl_next(r, &line, err);
  } while (status == TLT_OK && line);
  tlt_jsonl_close(r);
  return status;
}

static void jsonl(void **state) {
  (void)state;
  static const char good[] =
      "{\"id\": 1, \"prompt\": [{\"role\": \"user\", \"content\": \"\\u00e9\\n\\\"x\\\"\"}]}\n"
      "{\"id\": 2, \"answer\": -1.5e3, \"meta\": {\"a\": [true, null, \"\xc3\xa9\"]}}\r\n\n";
  try_all("jsonl", good, sizeof good - 1, TLT_EDATA, parse_jsonl);
}

typedef struct config {
  char *model, *options;
  int64_t seed;
  double betas[2];
  bool on;
} config;
static const tlt_yaml_row rows[] = {
    {.key = "model", .type = TLT_YAML_STRING, .offset = offsetof(config, model), .fallback = "m"},
    {.key = "seed", .type = TLT_YAML_INT64, .offset = offsetof(config, seed), .fallback = "0"},
    {.key = "a.on", .type = TLT_YAML_BOOL, .offset = offsetof(config, on), .fallback = "true"},
    {.key = "a.options",
     .type = TLT_YAML_OPTIONS,
     .offset = offsetof(config, options),
     .fallback = "null"},
    {.key = "a.betas",
     .type = TLT_YAML_DOUBLES,
     .offset = offsetof(config, betas),
     .fallback = "[0, 1]",
     .items = 2},
};
static const tlt_yaml_section sections[] = {TLT_YAML_SECTION("", rows, 0)};
static const tlt_yaml_schema schema = {sections, 1};

/* What is accepted must also be written so that it reads back. */
static tlt_status parse_yaml(const input *in, tlt_err *why) {
  config c, again;
  tlt_text text = {0}, second = {0};
  tlt_status status = tlt_yaml_parse(&schema, in->bytes, in->n, "c.yaml", NULL, 0, &c, NULL, why);
  if (status != TLT_OK) return status;
  tlt_yaml_write(&schema, &c, false, &text);
  assert_ok(tlt_yaml_parse(&schema, text.data, text.n, "w", NULL, 0, &again, NULL, &err));
  tlt_yaml_write(&schema, &again, false, &second);
  assert_string_equal(text.data, second.data);
  tlt_text_free(&text);
  tlt_text_free(&second);
  tlt_yaml_free(&schema, &c);
  tlt_yaml_free(&schema, &again);
  return TLT_OK;
}

static void yaml(void **state) {
  (void)state;
  static const char good[] =
      "# run\nmodel: \"a \\u00e9 b\"\nseed: 42\na:\n  on: false\n"
      "  betas: [0.9, 1.5e-3]\n  options: {numbers: 3, 'q r': -x}\n";
  try_all("yaml", good, sizeof good - 1, TLT_EUSAGE, parse_yaml);
}

static tlt_status parse_manifest(const input *in, tlt_err *err) {
  tlt_ckpt_reader *r;
  scratch_file("c/step-1/manifest.json", in->bytes, in->n);
  tlt_status status = tlt_ckpt_open(scratch("c"), 1, &r, err);
  if (status == TLT_OK) status = tlt_ckpt_verify(r, err);
  tlt_ckpt_close(r);
  return status;
}

static void manifest(void **state) {
  (void)state;
  tlt_ckpt_writer *w;
  char *good;
  size_t n;
  json_t *progress = json_pack("{s:i}", "step", 1);
  assert_ok(tlt_ckpt_create(scratch("c"), 1, &w, &err));
  assert_ok(tlt_ckpt_part(w, "weights", &err));
  assert_ok(tlt_ckpt_write(w, "0123456789", 10, &err));
  assert_ok(tlt_ckpt_publish(w, progress, 2, &err));
  assert_ok(tlt_file_load(scratch("c/step-1/manifest.json"), LONGEST, &good, &n, &err));
  try_all("manifest", good, n, TLT_ECHECKPOINT, parse_manifest);
  json_decref(progress);
  tlt_free(good);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tensors),
      cmocka_unit_test(jsonl),
      cmocka_unit_test(yaml),
      cmocka_unit_test(manifest),
  };
  return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
