#ifndef TLT_CMD_VERSION_H
#define TLT_CMD_VERSION_H

/* Version, commit, compiler, processor features, default numerics, checkpoint format. */
void tlt_print_version(void);

#endif
