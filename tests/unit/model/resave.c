/* resave FROM TO: load a model directory and save it again, tokenizer files included. */
#include <stdio.h>

#include "model/model.h"

int main(int argc, char **argv) {
  tlt_err err = {0};
  tlt_model *m = NULL;
  if (argc != 3) return 2;
  tlt_status s = tlt_model_open(argv[1], NULL, &m, &err);
  if (s == TLT_OK) s = tlt_weights_save(m->weights, argv[2], argv[1], &err);
  if (s != TLT_OK) fprintf(stderr, "resave: %s\n", err.text);
  tlt_model_close(m);
  return tlt_status_exit_code(s);
}
