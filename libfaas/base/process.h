/* process.h - this process as Prometheus families: memory, files, processor time, threads, build.
 * Source    /proc/self; what cannot be read there is left out.
 * Threads   any.
 */
#ifndef FAAS_PROCESS_H
#define FAAS_PROCESS_H

#include <stdio.h>

void faas_process_write(FILE *out);

#endif
