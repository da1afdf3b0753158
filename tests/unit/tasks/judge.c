/* Verifier on standard input, for tests in other languages. Each line is
 *     VERIFIER <tab> EXPECTED <tab> NUMBERS <tab> TARGET <tab> COMPLETION
 * (numbers separated by blanks, byte 31 in the completion stands for a newline); prints "SCORE
 * PARSED" for each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/problem.h"

/* Cuts the field that *at begins with. */
static char *next_field(char **at) {
  char *field = *at;
  *at = strchr(field, '\t');
  if (!*at) exit(2);
  *(*at)++ = 0;
  return field;
}

int main(void) {
  static char line[1 << 16];
  while (fgets(line, sizeof line, stdin)) {
    char *at = line;
    tlt_verifier verifier;
    tlt_problem p = {0};
    if (tlt_verifier_find(next_field(&at), &verifier, NULL) != TLT_OK) return 2;
    p.answer = next_field(&at);
    p.answer_bytes = strlen(p.answer);
    for (char *n = next_field(&at); *n && p.n_numbers < TLT_PROBLEM_MAX_NUMBERS;)
      p.numbers[p.n_numbers++] = strtoll(n, &n, 10);
    p.target = strtoll(next_field(&at), NULL, 10);
    at[strcspn(at, "\n")] = 0;
    for (char *c = at; *c; c++)
      if (*c == 31) *c = '\n';
    tlt_verdict v = tlt_verify(verifier, &p, at, strlen(at));
    printf("%g %d\n", v.score, v.parsed);
  }
  return 0;
}
