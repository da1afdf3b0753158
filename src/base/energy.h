/* Energy of this machine's processor packages, from the counters that the kernel shows under
 * /sys/class/powercap (RAPL; Intel and AMD).
 *
 * It is the whole package's: whatever else runs on the machine is in it, memory, disks and fans are
 * not. Usually only root may read the counters; what cannot be read is not available and never
 * guessed. Virtual machines mostly have none. Threads: one at a time. */
#ifndef TLT_BASE_ENERGY_H
#define TLT_BASE_ENERGY_H

enum { TLT_ENERGY_PACKAGES = 16, TLT_ENERGY_PATH_MAX = 512 };

#define TLT_ENERGY_ROOT "/sys/class/powercap"

typedef struct tlt_energy {
  int packages; /* 0: not available */
  /* private */
  double read_at; /* tlt_now() of the last reading */
  double joules;  /* since it was asked last; NaN: a reading failed or came too late */
  struct tlt_energy_package {
    char counter[TLT_ENERGY_PATH_MAX];
    double last, range; /* joules; the counter starts again at 0 behind range */
  } package[TLT_ENERGY_PACKAGES];
} tlt_energy;

/* Find the packages below root and take a first reading. NULL: TLT_ENERGY_ROOT. */
void tlt_energy_open(tlt_energy *e, const char *root);

/* Joules of all packages since the call before (or since opening); NaN when not available. */
double tlt_energy_take(tlt_energy *e);

/* To be called now and then: counters wrap around after minutes, and a reading that comes later
 * than a package could have gone around is no reading. Reads at most every ten seconds. */
void tlt_energy_poll(tlt_energy *e);

#endif
