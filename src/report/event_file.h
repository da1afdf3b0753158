/* Event files of TensorBoard: a row of records, each a serialised message in TFRecord framing,
 *
 *     bytes      u64, little endian
 *     check      u32, little endian, of the 8 bytes before
 *     message    [bytes]
 *     check      u32, little endian, of the message
 *
 * check(x) = rotate right by 15(CRC-32C(x)) + 0xa282ead8. A record is one write, so a kill leaves
 * whole records, or at worst a last one cut short, which readers pass over. */
#ifndef TLT_REPORT_EVENT_FILE_H
#define TLT_REPORT_EVENT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

typedef struct tlt_event_file tlt_event_file;

/* CRC-32C (Castagnoli, reflected polynomial 0x82f63b78). */
uint32_t tlt_crc32c(const void *data, size_t bytes);

/* A new file in dir, which is made when missing, named events.out.tfevents.<seconds>.tlt: behind
 * those that are there by name, which is the order in which they are read. */
tlt_status tlt_event_file_open(const char *dir, tlt_event_file **out, tlt_err *err);

/* Room for a message of so many bytes, valid until the next call; NULL: no memory. */
uint8_t *tlt_event_file_room(tlt_event_file *f, size_t bytes);
/* Write what was put into that room as one record. */
tlt_status tlt_event_file_add(tlt_event_file *f, tlt_err *err);

tlt_status tlt_event_file_sync(tlt_event_file *f, tlt_err *err);
tlt_status tlt_event_file_close(tlt_event_file *f, tlt_err *err); /* NULL is harmless */

#endif
