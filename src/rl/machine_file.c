#define _GNU_SOURCE
#include "rl/machine_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/machine.h"
#include "io/json.h"
#include "io/text.h"

enum { FILE_BYTES_MAX = 1 << 24, STARTS_MAX = 10000 };

typedef struct start {
  const tlt_session *session;
  const char *program;
  int64_t after_step;
  tlt_machine machine;
  int workers, hosts;
  char time[32];
} start;

static start describe(const tlt_session *s, const char *program, int64_t last_step) {
  start x = {.session = s,
             .program = program ? program : "unknown",
             .after_step = last_step > 0 ? last_step : 0,
             .workers = s->cluster ? tlt_cluster_size(s->cluster) : 1,
             .hosts = s->cluster ? tlt_cluster_hosts(s->cluster) : 1};
  time_t now = (time_t)tlt_wall();
  struct tm utc;
  strftime(x.time, sizeof x.time, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  tlt_machine_read(&x.machine);
  return x;
}

static void put_instruction_sets(tlt_json_writer *w) {
  static const struct {
    tlt_numerics numerics;
    tlt_isa isa;
  } tables[] = {{TLT_NUMERICS_PORTABLE, TLT_ISA_AVX2},
                {TLT_NUMERICS_PORTABLE, TLT_ISA_AVX512},
                {TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16},
                {TLT_NUMERICS_AMX, TLT_ISA_AMX}};
  tlt_json_begin(w, "instruction_sets", '[');
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    if (tlt_kernels_get(tables[i].numerics, tables[i].isa))
      tlt_json_put_string(w, NULL, tlt_isa_name(tables[i].isa));
  tlt_json_end(w, ']');
}

/* What the members of the file and of its starts have in common. */
static void put_common(tlt_json_writer *w, const start *x) {
  tlt_json_put_string(w, "started", x->time);
  tlt_json_put_string(w, "tlt", x->program);
  tlt_json_put_string(w, "processor", x->machine.processor);
  tlt_json_put_string(w, "numerics", tlt_numerics_name(x->session->model->kernels->numerics));
  tlt_json_put_int(w, "workers", x->workers);
  tlt_json_put_int(w, "threads", x->session->cores);
}

static void put_start(tlt_json_writer *w, const start *x) {
  tlt_json_begin(w, NULL, '{');
  tlt_json_put_int(w, "after_step", x->after_step);
  put_common(w, x);
  tlt_json_end(w, '}');
}

static void put_earlier(tlt_json_writer *w, const json_t *earlier) {
  size_t n = json_array_size(earlier);
  for (size_t i = n > STARTS_MAX ? n - STARTS_MAX : 0; i < n; i++) {
    char *text = json_dumps(json_array_get(earlier, i), JSON_COMPACT | JSON_ENCODE_ANY);
    if (text) tlt_json_put_raw(w, NULL, text);
    else w->text.failed = true;
    free(text); /* jansson's */
  }
}

static void put_file(tlt_json_writer *w, const start *x, const json_t *earlier) {
  char memory[32];
  tlt_json_begin(w, NULL, '{');
  put_common(w, x);
  tlt_json_put_int(w, "hosts", x->hosts);
  tlt_json_put_int(w, "cores", x->machine.cores);
  snprintf(memory, sizeof memory, "%.1f", (double)x->machine.memory_bytes / (1 << 30));
  tlt_json_put_raw(w, "memory_gib", memory);
  put_instruction_sets(w);
  tlt_json_put_string(w, "energy", x->session->energy.packages ? "counted" : "not available");
  tlt_json_put_string(w, "model", x->session->config->common.model);
  tlt_json_begin(w, "starts", '[');
  put_earlier(w, earlier);
  put_start(w, x);
  tlt_json_end(w, ']');
  tlt_json_end(w, '}');
  tlt_json_newline(w);
}

tlt_status tlt_machine_file_write(const tlt_rundir *dir, const tlt_session *s, const char *program,
                                  int64_t last_step, tlt_err *err) {
  char path[TLT_PATH_MAX];
  json_t *before = NULL;
  tlt_json_writer w = {0};
  tlt_err why = {0};
  tlt_path_join(path, dir->path, "machine.json");
  if (last_step >= 0 && tlt_path_exists(path) &&
      tlt_json_load(path, FILE_BYTES_MAX, &before, &why) != TLT_OK)
    tlt_log_write(TLT_LOG_WARN, "%s; earlier starts are forgotten", why.text);
  start x = describe(s, program, last_step);
  put_file(&w, &x, json_object_get(before, "starts"));
  tlt_status status = tlt_text_check(&w.text, err);
  if (status == TLT_OK) status = tlt_file_store(path, w.text.data, w.text.n, err);
  tlt_text_free(&w.text);
  json_decref(before);
  return status;
}
