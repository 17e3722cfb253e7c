/* ban.h - functions that this project does not call; a call does not compile.
 * Reached   through auto.h, so every file that reports errors has it.
 * Why       each has a safer neighbour: snprintf for the string builders, strtoll for ato*,
 *           strtok_r, exec with an argument list for system and popen, mkstemp, libsodium for
 *           rand, the _r forms for the calendar.
 * How       a call becomes an undeclared name that says what to use.  The headers that declare
 *           the functions are read first, so they are not touched.
 */
#ifndef FAAS_BAN_H
#define FAAS_BAN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf
#define strcpy(...)    banned_strcpy_use_snprintf
#define strcat(...)    banned_strcat_use_snprintf
#define strncpy(...)   banned_strncpy_use_snprintf
#define strncat(...)   banned_strncat_use_snprintf
#define sprintf(...)   banned_sprintf_use_snprintf
#define vsprintf(...)  banned_vsprintf_use_vsnprintf
#define atoi(...)      banned_atoi_use_strtoll
#define atol(...)      banned_atol_use_strtoll
#define atoll(...)     banned_atoll_use_strtoll
#define atof(...)      banned_atof_use_strtod
#define strtok(...)    banned_strtok_use_strtok_r
#define system(...)    banned_system_use_execve
#define popen(...)     banned_popen_use_execve
#define tmpnam(...)    banned_tmpnam_use_mkstemp
#define mktemp(...)    banned_mktemp_use_mkstemp
#define rand(...)      banned_rand_use_randombytes_buf
#define gmtime(...)    banned_gmtime_use_gmtime_r
#define localtime(...) banned_localtime_use_localtime_r
#define ctime(...)     banned_ctime_use_faas_time_format
#define asctime(...)   banned_asctime_use_faas_time_format

#endif
