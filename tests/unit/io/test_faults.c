/* Every file operation and every allocation of the writers and readers fails in turn: the status
 * is right, what was there before stays whole, temporaries go, nothing leaks (under ASan).
 *
 * Built with its own copy of src/base and src/io under -DTLT_FAULTS. Each attempt is a child
 * process, since TLT_FAULT is read once per process; the parent calls nothing of tlt that counts.
 * Run alone: build/tests/unit/io/test_faults */
#include "scratch.h"
/* the rest after it */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/yaml.h"

typedef tlt_status scenario(void);

enum { KILLED = 137 };

/* Runs f in a child under this fault ("" for none); its exit code by the table of status.h. */
static int run(scenario *f, const char *fault) {
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    setenv("TLT_FAULT", fault, 1);
    exit(tlt_status_exit_code(f()));
  }
  int how = 0;
  if (child < 0 || waitpid(child, &how, 0) != child) return -1;
  if (WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL) return KILLED;
  if (!WIFEXITED(how)) return -1;
  return WEXITSTATUS(how);
}

static int run_at(scenario *f, const char *kind, int n, const char *rest) {
  char fault[64];
  snprintf(fault, sizeof fault, "%s:%d%s", kind, n, rest);
  return run(f, fault);
}

/* prepare, faulted act, judge(code of act) for N = 1, 2, ... until act has succeeded `quiet` times
 * in a row; judge returns 0 when all is well. */
static int act_code;

static void torture(scenario *prepare, scenario *act, scenario *judge, const char *kind,
                    const char *rest, int quiet) {
  enum { MOST = 2000 };
  int in_a_row = 0, failures = 0, n = 1;
  for (; n < MOST && in_a_row < quiet; n++) {
    if (prepare) assert_int_equal(run(prepare, ""), 0);
    act_code = run_at(act, kind, n, rest);
    bool right = act_code == 4 || (act_code == KILLED && !strcmp(rest, ":KILL"));
    if (act_code != 0 && !right) fail_msg("%s:%d%s: exit code %d", kind, n, rest, act_code);
    if (judge && run(judge, "") != 0) fail_msg("%s:%d%s: left damage", kind, n, rest);
    failures += act_code != 0;
    in_a_row = act_code == 0 ? in_a_row + 1 : 0;
  }
  assert_true(n < MOST);
  if (strcmp(kind, "short") && strcmp(rest, ":EINTR")) assert_true(failures > 0);
}

/* A judge's complaint; shown with the fault that led to it. */
static tlt_status wrong(const char *what) {
  print_error("%s\n", what);
  return TLT_EINTERNAL;
}

/* ---- tlt_file_store ---- */

static tlt_status store_old(void) {
  return tlt_file_store(scratch("f"), "old", 3, NULL);
}
static tlt_status store_new(void) {
  return tlt_file_store(scratch("f"), "new", 3, NULL);
}

static tlt_status judge_store(void) {
  char *text;
  size_t n;
  if (act_code != KILLED && tlt_path_exists(scratch("f.tmp"))) return wrong("temporary left");
  if (tlt_file_load(scratch("f"), 8, &text, &n, NULL) != TLT_OK) return wrong("file gone");
  bool is_new = !strcmp(text, "new"), is_old = !strcmp(text, "old");
  tlt_free(text);
  /* old after a failure, except that of syncing the directory after the rename */
  return is_new || (is_old && act_code != 0) ? TLT_OK : wrong("neither old nor new");
}

static void store_survives(void **state) {
  (void)state;
  torture(store_old, store_new, judge_store, "io", ":EIO", 10);
  torture(store_old, store_new, judge_store, "io", ":ENOSPC+", 1);
  torture(store_old, store_new, judge_store, "io", ":EINTR", 10);
  torture(store_old, store_new, judge_store, "io", ":KILL", 10);
  torture(store_old, store_new, judge_store, "short", "", 10);
  torture(store_old, store_new, judge_store, "alloc", "", 10);
}

/* ---- Checkpoint ---- */

static tlt_status save(int64_t step) {
  char dir[TLT_PATH_MAX];
  tlt_ckpt_writer *w;
  tlt_path_join(dir, scratch_dir, "c");
  tlt_status status = tlt_ckpt_create(dir, step, &w, NULL);
  if (status != TLT_OK) return status;
  json_t *empty = json_object();
  status = tlt_ckpt_part(w, "a", NULL);
  if (status == TLT_OK) status = tlt_ckpt_write(w, "some bytes", 10, NULL);
  if (status == TLT_OK) status = tlt_ckpt_part(w, "b", NULL);
  if (status == TLT_OK) status = tlt_ckpt_write(w, "more", 4, NULL);
  if (status == TLT_OK) status = tlt_ckpt_publish(w, empty, 2, NULL);
  else tlt_ckpt_abandon(w);
  json_decref(empty);
  return status;
}

static tlt_status save_one_and_two(void) {
  tlt_status status = tlt_path_remove(scratch("c"), NULL);
  if (status == TLT_OK) status = save(1);
  return status == TLT_OK ? save(2) : status;
}

static tlt_status save_three(void) {
  return save(3);
}

static tlt_status is_whole(int64_t step) {
  tlt_ckpt_reader *r;
  tlt_status status = tlt_ckpt_open(scratch("c"), step, &r, NULL);
  if (status == TLT_OK) status = tlt_ckpt_verify(r, NULL);
  tlt_ckpt_close(r);
  return status;
}

static tlt_status judge_saved(void) {
  int64_t latest;
  if (tlt_ckpt_latest(scratch("c"), &latest, NULL) != TLT_OK) return wrong("no latest");
  if (latest != 3 && (act_code == 0 || latest != 2)) return wrong("wrong latest");
  if (is_whole(latest) != TLT_OK || is_whole(2) != TLT_OK) return wrong("damaged");
  if (save(4) != TLT_OK || is_whole(4) != TLT_OK) return wrong("the next save fails");
  return tlt_path_exists(scratch("c/tmp-3")) ? wrong("leftover") : TLT_OK;
}

static tlt_status judge_saved_and_tidy(void) {
  if (tlt_path_exists(scratch("c/tmp-3"))) return wrong("temporary left");
  return judge_saved();
}

static void checkpoint_survives(void **state) {
  (void)state;
  torture(save_one_and_two, save_three, judge_saved_and_tidy, "io", ":EIO", 40);
  torture(save_one_and_two, save_three, judge_saved, "io", ":ENOSPC+", 1);
  torture(save_one_and_two, save_three, judge_saved, "io", ":KILL", 10);
  torture(save_one_and_two, save_three, judge_saved_and_tidy, "io", ":EINTR", 40);
  torture(save_one_and_two, save_three, judge_saved_and_tidy, "short", "", 10);
  torture(save_one_and_two, save_three, judge_saved, "alloc", "", 40);
}

/* Reading a damaged environment never calls a good checkpoint damaged. */
static tlt_status read_two(void) {
  return is_whole(2);
}

static void checkpoint_reading_survives(void **state) {
  (void)state;
  assert_int_equal(run(save_one_and_two, ""), 0);
  torture(NULL, read_two, NULL, "io", ":EIO", 10);
  torture(NULL, read_two, NULL, "alloc", "", 10);
  torture(NULL, read_two, NULL, "short", "", 10);
}

/* ---- safetensors ---- */

static tlt_status write_tensors(void) {
  tlt_st_writer *w;
  int64_t shape = 2;
  tlt_status status = tlt_st_create(scratch("t"), &w, NULL);
  if (status != TLT_OK) return status;
  status = tlt_st_declare(w, "a", TLT_F32, &shape, 1, NULL);
  if (status == TLT_OK) status = tlt_st_write(w, "12345678", 8, NULL);
  if (status == TLT_OK) return tlt_st_finish(w, NULL);
  tlt_st_abandon(w);
  return status;
}

static tlt_status remove_tensors(void) {
  return tlt_path_remove(scratch("t"), NULL);
}

static tlt_status read_tensors(void) {
  tlt_st_set *set;
  float x[2];
  tlt_status status = tlt_st_open(scratch("t"), &set, NULL);
  if (status == TLT_OK) status = tlt_st_read_f32(set, tlt_st_at(set, 0), 0, 2, x, NULL);
  tlt_st_close(set);
  return status;
}

static tlt_status judge_tensors(void) {
  if (tlt_path_exists(scratch("t.tmp"))) return wrong("temporary left");
  if (!tlt_path_exists(scratch("t"))) return act_code ? TLT_OK : wrong("file gone");
  return read_tensors() == TLT_OK ? TLT_OK : wrong("half a file");
}

static void safetensors_survive(void **state) {
  (void)state;
  torture(remove_tensors, write_tensors, judge_tensors, "io", ":ENOSPC", 10);
  torture(remove_tensors, write_tensors, judge_tensors, "alloc", "", 10);
  torture(write_tensors, read_tensors, NULL, "io", ":EIO", 10);
  torture(write_tensors, read_tensors, NULL, "alloc", "", 10);
  torture(write_tensors, read_tensors, NULL, "short", "", 10);
}

/* ---- YAML, JSONL ---- */

typedef struct config {
  char *name, *options;
} config;
static const tlt_yaml_row rows[] = {
    {.key = "a.name", .type = TLT_YAML_STRING, .offset = offsetof(config, name), .fallback = "x"},
    {.key = "a.options",
     .type = TLT_YAML_OPTIONS,
     .offset = offsetof(config, options),
     .fallback = "null"},
};
static const tlt_yaml_section sections[] = {TLT_YAML_SECTION("", rows, 0)};
static const tlt_yaml_schema schema = {sections, 1};

static tlt_status write_texts(void) {
  const char *yaml = "a: {name: y, options: {b: 1, c: 2}}\n", *jsonl = "{\"a\": [1, \"x\"]}\n{}\n";
  tlt_status status = tlt_file_store(scratch("y"), yaml, strlen(yaml), NULL);
  return status == TLT_OK ? tlt_file_store(scratch("j"), jsonl, strlen(jsonl), NULL) : status;
}

static tlt_status read_yaml(void) {
  config c;
  const char *set = "a.name=z";
  tlt_status status = tlt_yaml_load(&schema, scratch("y"), &set, 1, &c, NULL, NULL);
  if (status == TLT_OK) tlt_yaml_free(&schema, &c);
  return status;
}

static tlt_status read_jsonl(void) {
  tlt_jsonl *r;
  json_t *line = NULL;
  tlt_status status = tlt_jsonl_open(scratch("j"), &r, NULL);
  if (status != TLT_OK) return status;
  do {
    json_decref(line);
    status = tlt_jsonl_next(r, &line, NULL);
  } while (status == TLT_OK && line);
  tlt_jsonl_close(r);
  return status;
}

static void text_readers_survive(void **state) {
  (void)state;
  assert_int_equal(run(write_texts, ""), 0);
  torture(NULL, read_yaml, NULL, "io", ":EIO", 10);
  torture(NULL, read_yaml, NULL, "alloc", "", 10);
  torture(NULL, read_jsonl, NULL, "io", ":EIO", 10);
  torture(NULL, read_jsonl, NULL, "alloc", "", 10);
  torture(NULL, read_jsonl, NULL, "short", "", 10);
}

static int open_dir(void **state) {
  return scratch_open(state);
}

static tlt_status remove_all(void) {
  return tlt_path_remove(scratch_dir, NULL);
}

static int close_dir(void **state) {
  (void)state;
  return run(remove_all, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(store_survives),
      cmocka_unit_test(checkpoint_survives),
      cmocka_unit_test(checkpoint_reading_survives),
      cmocka_unit_test(safetensors_survive),
      cmocka_unit_test(text_readers_survive),
  };
  return cmocka_run_group_tests(tests, open_dir, close_dir);
}
