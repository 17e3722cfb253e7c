/* version.h - the version of the whole project; all programs are released together. */
#ifndef FAAS_VERSION_H
#define FAAS_VERSION_H

#define FAAS_VERSION "0.2.0"

#endif
