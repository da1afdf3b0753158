#ifndef TLT_CMD_VERSION_H
#define TLT_CMD_VERSION_H

/* Version, commit, compiler, processor features, default numerics, checkpoint format. */
void tlt_print_version(void);

/* "VERSION (COMMIT)": what two processes of one program have in common. */
const char *tlt_program_version(void);

#endif
