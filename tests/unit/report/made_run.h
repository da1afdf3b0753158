/* A small run directory made without training, for tests of what reads one. */
#ifndef TLT_TESTS_MADE_RUN_H
#define TLT_TESTS_MADE_RUN_H

#include <stddef.h>
#include <stdint.h>

enum { MADE_STEPS = 6, MADE_WORKERS = 2 };

/* All of it below dir, which exists: config.yaml, status.json, machine.json, metrics.jsonl,
 * trace.json, rollouts/, spec.jsonl. change shifts the reward of that step and all behind it by one
 * bit, and the third token of answer 1 of that step; -1: none. Fails the test on any error. */
void made_run(const char *dir, int64_t change);

/* Replace or make a file. */
void made_file(const char *dir, const char *name, const char *text, size_t n);

#endif
