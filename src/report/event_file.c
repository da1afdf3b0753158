#include "report/event_file.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/file.h"

enum { HEAD = 12, FOOT = 4 }; /* bytes around a message */

struct tlt_event_file {
  tlt_file *file;
  uint8_t *record;
  size_t room, message; /* bytes of record; of the message in it */
};

uint32_t tlt_crc32c(const void *data, size_t bytes) {
  static const uint32_t of_nibble[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                         0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                         0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                         0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
  const uint8_t *x = data;
  uint32_t crc = ~0U;
  for (size_t i = 0; i < bytes; i++) {
    crc ^= x[i];
    crc = crc >> 4 ^ of_nibble[crc & 15];
    crc = crc >> 4 ^ of_nibble[crc & 15];
  }
  return ~crc;
}

static void put_check(uint8_t *to, const void *data, size_t bytes) {
  uint32_t crc = tlt_crc32c(data, bytes);
  uint32_t check = (crc >> 15 | crc << 17) + 0xa282ead8;
  for (int i = 0; i < 4; i++) to[i] = (uint8_t)(check >> 8 * i);
}

/* Seconds for the name of a new file: now, but behind all that are there. */
static tlt_status next_seconds(const char *dir, long long *seconds, tlt_err *err) {
  char **names = NULL;
  size_t n = 0;
  long long each;
  tlt_status s = tlt_dir_list(dir, &names, &n, err);
  if (s != TLT_OK) return s;
  *seconds = (long long)tlt_wall();
  for (size_t i = 0; i < n; i++)
    if (sscanf(names[i], "events.out.tfevents.%15lld.", &each) == 1 && each >= *seconds)
      *seconds = each + 1;
  tlt_dir_list_free(names, n);
  return TLT_OK;
}

tlt_status tlt_event_file_open(const char *dir, tlt_event_file **out, tlt_err *err) {
  char name[64], path[TLT_PATH_MAX];
  long long seconds;
  *out = NULL;
  tlt_status s = tlt_dir_make(dir, err);
  if (s == TLT_OK) s = next_seconds(dir, &seconds, err);
  if (s != TLT_OK) return s;
  tlt_event_file *f = tlt_calloc(1, sizeof *f);
  if (!f) return tlt_fail_nomem(err, "event file", sizeof *f);
  snprintf(name, sizeof name, "events.out.tfevents.%010lld.tlt", seconds);
  tlt_path_join(path, dir, name);
  s = tlt_file_open(path, TLT_FILE_CREATE, &f->file, err);
  if (s == TLT_OK) *out = f;
  else tlt_free(f);
  return s;
}

uint8_t *tlt_event_file_room(tlt_event_file *f, size_t bytes) {
  size_t want = HEAD + bytes + FOOT;
  if (want > f->room) {
    uint8_t *record = tlt_realloc(f->record, 2 * want);
    if (!record) return NULL;
    f->record = record;
    f->room = 2 * want;
  }
  f->message = bytes;
  return f->record + HEAD;
}

tlt_status tlt_event_file_add(tlt_event_file *f, tlt_err *err) {
  uint8_t *r = f->record;
  for (int i = 0; i < 8; i++) r[i] = (uint8_t)((uint64_t)f->message >> 8 * i);
  put_check(r + 8, r, 8);
  put_check(r + HEAD + f->message, r + HEAD, f->message);
  return tlt_file_write(f->file, r, HEAD + f->message + FOOT, err);
}

tlt_status tlt_event_file_sync(tlt_event_file *f, tlt_err *err) {
  return tlt_file_sync(f->file, err);
}

tlt_status tlt_event_file_close(tlt_event_file *f, tlt_err *err) {
  if (!f) return TLT_OK;
  tlt_status s = tlt_file_close(f->file, err);
  tlt_free(f->record);
  tlt_free(f);
  return s;
}
