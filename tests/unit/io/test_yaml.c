/* Configuration table: values, errors with line and nearest key, sets, writing back, differences.
 * Run alone: build/tests/unit/io/test_yaml */
#include "scratch.h"
/* the rest after it */
#include <math.h>

#include "base/mem.h"
#include "io/yaml.h"

typedef struct optimizer {
  double lr, betas[2];
  int order[2];
  int schedule, warmup;
} optimizer;

typedef struct config {
  char *model;
  int64_t seed;
  struct {
    char *task, *options;
  } data;
  struct {
    int every;
    double temperature;
  } eval;
  char *command;
  bool tensorboard;
  int draft;
  optimizer optimizer;
} config;

static const char *const schedules[] = {"constant", "cosine", NULL};
static const char *const drafts[] = {"auto", "off", "suffix", NULL};

static const tlt_yaml_row top_rows[] = {
    {.key = "model",
     .type = TLT_YAML_STRING,
     .offset = offsetof(config, model),
     .help = "directory"},
    {"seed", TLT_YAML_INT64, offsetof(config, seed), "1", 0, 4294967295.0, NULL, 0, false, NULL},
    {.key = "data.task",
     .type = TLT_YAML_STRING_OR_NULL,
     .offset = offsetof(config, data.task),
     .fallback = "null"},
    {.key = "data.options",
     .type = TLT_YAML_OPTIONS,
     .offset = offsetof(config, data.options),
     .fallback = "null"},
    {"eval.every", TLT_YAML_INT, offsetof(config, eval.every), "10", 0, INFINITY, NULL, 0, true,
     NULL},
    {"eval.deep.temperature", TLT_YAML_DOUBLE, offsetof(config, eval.temperature), "1.0", 0, 0,
     NULL, 0, false, NULL},
    {.key = "reward.command",
     .type = TLT_YAML_STRING_OR_NULL,
     .offset = offsetof(config, command),
     .fallback = ""},
    {.key = "log.tensorboard",
     .type = TLT_YAML_BOOL,
     .offset = offsetof(config, tensorboard),
     .fallback = "true"},
    {.key = "speculation.draft",
     .type = TLT_YAML_ENUM,
     .offset = offsetof(config, draft),
     .fallback = "auto",
     .choices = drafts},
};
static const tlt_yaml_row optimizer_rows[] = {
    {"lr", TLT_YAML_DOUBLE, offsetof(optimizer, lr), "1e-6", 0, 1, NULL, 0, false, NULL},
    {"betas", TLT_YAML_DOUBLES, offsetof(optimizer, betas), "[0.9, 0.95]", 0, 0.9999, NULL, 2,
     false, NULL},
    {.key = "schedule",
     .type = TLT_YAML_ENUM,
     .offset = offsetof(optimizer, schedule),
     .fallback = "constant",
     .choices = schedules},
    {.key = "order",
     .type = TLT_YAML_CHOICES,
     .offset = offsetof(optimizer, order),
     .fallback = "[constant, cosine]",
     .choices = schedules,
     .items = 2},
    {.key = "warmup", .type = TLT_YAML_INT, .offset = offsetof(optimizer, warmup), .fallback = "0"},
};
static const tlt_yaml_section sections[] = {
    TLT_YAML_SECTION("", top_rows, 0),
    TLT_YAML_SECTION("optimizer", optimizer_rows, offsetof(config, optimizer)),
};
static const tlt_yaml_schema schema = {sections, 2};

static tlt_status parse(const char *text, const char *set, config *c, tlt_err *err) {
  return tlt_yaml_parse(&schema, text, strlen(text), "c.yaml", &set, set ? 1 : 0, c, NULL, err);
}

static void defaults(void **state) {
  (void)state;
  config c;
  assert_ok(parse("model: m\n", NULL, &c, &err));
  assert_string_equal(c.model, "m");
  assert_int_equal(c.seed, 1);
  assert_null(c.data.task);
  assert_null(c.command);
  assert_int_equal(c.eval.every, 10);
  assert_true(c.tensorboard && c.eval.temperature == 1 && c.optimizer.lr == 1e-6);
  assert_true(c.optimizer.betas[0] == 0.9 && c.optimizer.betas[1] == 0.95);
  tlt_yaml_free(&schema, &c);
  assert_null(c.model);
}

static void values(void **state) {
  (void)state;
  config c;
  assert_ok(
      parse("model: 'null' # quoted\nseed: 4294967295\n"
            "data: {task: countdown, options: {numbers: 3, name: \"a b\"}}\n"
            "log:\n  tensorboard: false\nspeculation: {draft: off}\n"
            "optimizer: {lr: 1e-3, betas: [0, 0.5], schedule: cosine}\n"
            "eval: {deep: {temperature: -0.25}}\nreward: {command: ~}\n",
            "optimizer.lr=0.5", &c, &err));
  assert_string_equal(c.model, "null");
  assert_true(c.seed == 4294967295 && !c.tensorboard && c.draft == 1);
  assert_string_equal(c.data.options, "numbers=3,name=a b");
  assert_true(c.optimizer.lr == 0.5 && c.optimizer.betas[0] == 0 && c.optimizer.schedule == 1);
  assert_true(c.eval.temperature == -0.25);
  tlt_yaml_free(&schema, &c);
}

static void refused_values(void **state) {
  (void)state;
  static const struct {
    const char *text, *part;
  } cases[] = {
      {"", "c.yaml: model: missing, expected string"},
      {"model:\n", "c.yaml:1: model: got null, expected string"},
      {"model: [a]\n", "c.yaml:1: model: got a list, expected string"},
      {"model: m\nseed: \"1\"\n", "c.yaml:2: seed: got \"1\", expected integer in 0 .. 4294967295"},
      {"model: m\nseed: 9x\n", "c.yaml:2: seed: got 9x, expected integer"},
      {"seed: 010\n", "got 010"},
      {"seed: +1\n", "got +1"},
      {"seed: 0x10\n", "got 0x10"},
      {"seed: 1_000\n", "got 1_000"},
      {"seed: 1e3\n", "got 1e3"},
      {"seed: 1.0\n", "got 1.0"},
      {"seed: -1\n", "got -1"},
      {"seed: 4294967296\n", "got 4294967296"},
      {"seed: 9223372036854775808\n", "got 9223372036854775808"},
      {"seed: nan\n", "got nan"},
      {"optimizer:\n  warmup: 2147483648\n",
       "c.yaml:2: optimizer.warmup: got 2147483648, expected integer"},
      {"optimizer: {lr: nan}\n", "optimizer.lr: got nan, expected number in 0 .. 1"},
      {"optimizer: {lr: .inf}\n", "got .inf"},
      {"optimizer: {lr: 1e999}\n", "got 1e999"},
      {"optimizer: {lr: \"1e-6\"}\n", "got \"1e-6\""},
      {"optimizer: {lr: .5}\n", "got .5"},
      {"optimizer: {betas: 0.9}\n",
       "optimizer.betas: got 0.9, expected list of 2 numbers in 0 .. 0.9999"},
      {"optimizer: {betas: [0.9]}\n", "got a list, expected list of 2"},
      {"optimizer: {order: [cosine, cosine]}\n", "got a list, expected list of at most 2 different of"},
      {"optimizer: {order: [cosine, square]}\n", "got a list, expected list of at most 2 different of"},
      {"optimizer: {order: cosine}\n", "got cosine, expected list of at most 2 different of"},
      {"optimizer: {betas: [0.9, 1]}\n", "got a list, expected list of 2"},
      {"optimizer: {schedule: linear}\n", "got linear, expected constant | cosine"},
      {"optimizer: 3\n", "c.yaml:1: optimizer: expected a mapping"},
      {"log: {tensorboard: yes}\n", "log.tensorboard: got yes, expected true or false"},
      {"log: {tensorboard: off}\n", "got off, expected true or false"},
      {"log: {tensorboard: \"true\"}\n", "got \"true\""},
      {"log: {tensorboard: True}\n", "got True"},
      {"data: {options: {a: [1]}}\n", "data.options: got a mapping, expected mapping of scalars"},
      {"data: {options: {a: \"x,y\"}}\n", "expected mapping of scalars without = and ,"},
      {"eval: {every: -1}\n", "expected integer of at least 0"},
      {"model: \"a\\0b\"\n", "model: got"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    config c;
    assert_fails(parse(cases[i].text, NULL, &c, &err), TLT_EUSAGE, cases[i].part);
    assert_null(c.model);
  }
}

static void refused_structure(void **state) {
  (void)state;
  static const struct {
    const char *text, *part;
  } cases[] = {
      {"model: m\nsede: 2\n", "c.yaml:2: unknown key sede, nearest is seed"},
      {"optimiser: {lr: 1}\n", "c.yaml:1: unknown key optimiser, nearest is optimizer"},
      {"optimizer:\n  lr: 1\n  shedule: x\n",
       "c.yaml:3: unknown key optimizer.shedule, nearest is optimizer.schedule"},
      {"lr: 1\n", "unknown key lr, nearest is optimizer.lr"},
      {"optimizer.lr: 1\n", "unknown key optimizer.lr"},
      {"seed: 1\nmodel: m\nseed: 2\n", "c.yaml:3: key seed stands already in line 1"},
      {"data: {options: {a: 1, a: 2}}\n", "key a stands already"},
      {"optimizer: {lr: 1}\noptimizer: {}\n", "c.yaml:2: key optimizer stands already in line 1"},
      {"- a\n", "c.yaml:1: expected a mapping"},
      {"model\n", "c.yaml:1: expected a mapping"},
      {"? [a]\n: 1\n", "expected a name before the colon"},
      {"model: m\noptimizer:\n\tlr: 1\n", "c.yaml:3: got a tab, expected spaces"},
      {"model: &a m\n", "c.yaml:1: got an anchor"},
      {"optimizer: &a {}\n", "c.yaml:1: got an anchor"},
      {"model: m\nseed: *a\n", "c.yaml:2: got an alias"},
      {"model: !!str m\n", "got a tag"},
      {"model: m\n---\nmodel: m\n", "got a second document"},
      {"model: [m\n", "c.yaml:2: "},
      {"model: m\n  seed: 1\n", "c.yaml:2: "},
      {"model: m\nx: \xff\n", "c.yaml:2: "},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    config c;
    assert_fails(parse(cases[i].text, NULL, &c, &err), TLT_EUSAGE, cases[i].part);
  }
}

static void caps(void **state) {
  (void)state;
  config c;
  char deep[128] = "model: ";
  memset(deep + 7, '[', 33);
  assert_fails(parse(deep, NULL, &c, &err), TLT_EUSAGE, "nesting over 32");
  size_t n = TLT_YAML_FILE_MAX + 1;
  char *big = tlt_malloc(n + 1);
  memset(big, '#', n);
  big[n] = 0;
  assert_fails(parse(big, NULL, &c, &err), TLT_EUSAGE, "expected at most 1048576");
  assert_fails(tlt_yaml_load(&schema, scratch_file("big.yaml", big, n), NULL, 0, &c, NULL, &err),
               TLT_EUSAGE, "expected at most 1048576");
  assert_fails(tlt_yaml_load(&schema, scratch("none.yaml"), NULL, 0, &c, NULL, &err), TLT_EUSAGE,
               "no such file");
  tlt_free(big);
}

static void sets(void **state) {
  (void)state;
  static const struct {
    const char *set, *part;
  } cases[] = {
      {"optimizer.lr", "expected KEY=VALUE"},
      {"=1", "expected KEY=VALUE"},
      {"optimizer.lrr=1",
       "--set optimizer.lrr=1: unknown key optimizer.lrr, nearest is optimizer.lr"},
      {"optimizer={}", "optimizer is a section"},
      {"seed=9x", "--set seed=9x: got 9x, expected integer"},
      {"seed=", "got null, expected integer"},
      {"seed=\"1\"", "got \"1\""},
      {"seed=*a", "--set seed=*a: got an alias"},
      {"seed=[", "--set seed=[: "},
      {"model=a: b", "got a mapping, expected string"},
      {"log.tensorboard=on", "got on, expected true or false"},
      {"data.options={a: 1, a: 2}", "key a stands already"},
  };
  config c;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_fails(parse("model: m\n", cases[i].set, &c, &err), TLT_EUSAGE, cases[i].part);
  const char *const good[] = {"speculation.draft=off",
                              "optimizer.betas=[0.5, 0.25]",
                              "optimizer.order=[cosine, constant]",
                              "model=a=b",
                              "reward.command=",
                              "data.options={x: 1}",
                              "seed=3",
                              "seed=4"};
  tlt_yaml_origin *origin;
  const char *text = "seed: 2\nreward: {command: x}\n";
  assert_ok(tlt_yaml_parse(&schema, text, strlen(text), "c.yaml", good, 8, &c, &origin, &err));
  assert_true(c.draft == 1 && c.optimizer.betas[1] == 0.25 && c.optimizer.order[0] == 1 &&
              c.seed == 4 && !c.command);
  assert_string_equal(c.model, "a=b");
  assert_string_equal(c.data.options, "x=1");
  assert_true(tlt_yaml_given(origin, "seed") && !tlt_yaml_given(origin, "optimizer.lr"));
  assert_fails(tlt_yaml_fail(origin, "seed", &err, "bad %d", 1), TLT_EUSAGE, "--set seed: bad 1");
  assert_fails(tlt_yaml_fail(origin, "optimizer.lr", &err, "bad"), TLT_EUSAGE,
               "c.yaml: optimizer.lr: bad");
  tlt_yaml_origin_free(origin);
  tlt_yaml_free(&schema, &c);
  assert_ok(tlt_yaml_parse(&schema, "\nmodel: m", 9, "c.yaml", NULL, 0, &c, &origin, &err));
  assert_fails(tlt_yaml_fail(origin, "model", &err, "bad"), TLT_EUSAGE, "c.yaml:2: model: bad");
  tlt_yaml_origin_free(origin);
  tlt_yaml_free(&schema, &c);
}

static int changes;

static void count_change(void *context, const tlt_yaml_difference *d) {
  (void)context;
  changes++;
  if (!strcmp(d->key, "optimizer.lr")) {
    assert_string_equal(d->before, "0.1");
    assert_string_equal(d->after, "1e-06");
    assert_false(d->may_change);
  } else if (!strcmp(d->key, "eval.every")) {
    assert_true(d->may_change);
  } else {
    assert_string_equal(d->key, "model");
  }
}

static void written_text_reads_back(void **state) {
  (void)state;
  static const char *const models[] = {"m",
                                       "models/tiny-2.5_x",
                                       "",
                                       "null",
                                       "~",
                                       "true",
                                       "1e-6",
                                       "- a",
                                       "a: b",
                                       "#x",
                                       "a\\\"'\n\r\x7f",
                                       "\xc3\xa9\xe2\x80\xa8\xc2\x85",
                                       "\xf0\x9f\x98\x80",
                                       " lead",
                                       "trail ",
                                       "*a",
                                       "!x",
                                       "%d",
                                       "@",
                                       "`",
                                       "---",
                                       "a,b"};
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    config a, b;
    tlt_text text = {0}, again = {0};
    assert_ok(
        parse("model: m\nseed: 7\noptimizer: {lr: 0.30000000000000004, betas: [0.1, 1e-300]}\n"
              "data: {task: t, options: {n: 3, \"q q\": -1.5e3, z: \"a: b\"}}\n",
              NULL, &a, &err));
    tlt_free(a.model);
    a.model = tlt_strdup(models[i]);
    tlt_yaml_write(&schema, &a, i & 1, &text);
    assert_ok(tlt_text_check(&text, &err));
    assert_ok(parse(text.data, NULL, &b, &err));
    assert_string_equal(a.model, b.model);
    assert_string_equal(a.data.options, b.data.options);
    assert_memory_equal(&a.optimizer, &b.optimizer, sizeof a.optimizer);
    changes = 0;
    assert_ok(tlt_yaml_diff(&schema, &a, &b, count_change, NULL, &err));
    assert_int_equal(changes, 0);
    tlt_yaml_write(&schema, &b, i & 1, &again);
    assert_string_equal(text.data, again.data);
    tlt_text_free(&text);
    tlt_text_free(&again);
    tlt_yaml_free(&schema, &a);
    tlt_yaml_free(&schema, &b);
  }
}

static void differences(void **state) {
  (void)state;
  config a, b;
  assert_ok(parse("model: m\noptimizer: {lr: 0.1}\neval: {every: 3}\n", NULL, &a, &err));
  assert_ok(parse("model: n\n", NULL, &b, &err));
  changes = 0;
  assert_ok(tlt_yaml_diff(&schema, &a, &b, count_change, NULL, &err));
  assert_int_equal(changes, 3);
  tlt_yaml_free(&schema, &a);
  tlt_yaml_free(&schema, &b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),
      cmocka_unit_test(values),
      cmocka_unit_test(refused_values),
      cmocka_unit_test(refused_structure),
      cmocka_unit_test(caps),
      cmocka_unit_test(sets),
      cmocka_unit_test(written_text_reads_back),
      cmocka_unit_test(differences),
  };
  return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
