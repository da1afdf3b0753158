#include "rl/evaluate.h"

#include "base/mem.h"

static void count(const tlt_groups *g, tlt_eval_result *r) {
  int64_t cut = 0, parsed = 0, answers = (int64_t)g->n * g->samples;
  for (int i = 0; i < g->n; i++) {
    const tlt_group *group = &g->group[i];
    r->masked += group->masked;
    for (int s = 0; s < g->samples; s++) {
      const tlt_answer *a = &group->answer[s];
      r->right[i] += a->score > TLT_EVAL_RIGHT;
      r->score_mean += a->score;
      r->tokens += a->n_tokens;
      cut += a->finish == TLT_FINISH_LENGTH;
      parsed += a->parsed;
    }
  }
  r->score_mean /= (double)answers;
  r->mean_length = (double)r->tokens / (double)answers;
  r->cut_share = (double)cut / (double)answers;
  r->parsed_share = (double)parsed / (double)answers;
}

tlt_status tlt_evaluate(const tlt_rollout_job *job, tlt_groups *groups, tlt_eval_result *out,
                        tlt_err *err) {
  tlt_rollout_job all = *job;
  all.evaluation = true;
  all.update = NULL;
  all.decode.shuffle = NULL;
  all.decode.first = TLT_EVAL_FIRST;
  all.prompts = (int)job->decode.problems->n;
  all.max_gen = 1;
  *out = (tlt_eval_result){.problems = job->decode.problems->n, .samples = job->decode.samples};
  out->right = tlt_calloc(out->problems, sizeof *out->right);
  if (!out->right) return tlt_fail_nomem(err, "evaluation", out->problems * sizeof *out->right);
  tlt_groups answers;
  tlt_rollout_stats stats;
  tlt_status s = tlt_groups_make(job->decode.samples, all.prompts, &answers, err);
  if (s == TLT_OK) s = tlt_rollout_run(&all, &answers, &stats, err);
  if (s != TLT_OK) {
    tlt_groups_free(&answers);
    tlt_eval_result_free(out);
    return s;
  }
  count(&answers, out);
  out->seconds = stats.seconds;
  if (groups) *groups = answers;
  else tlt_groups_free(&answers);
  return TLT_OK;
}

void tlt_eval_result_free(tlt_eval_result *r) {
  tlt_free(r->right);
  *r = (tlt_eval_result){0};
}
