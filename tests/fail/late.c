/* Instantiated in a strict mode after a system header: what the library needs is hidden by then.
 * cc: -std=c99 -c
 * says: francis: POSIX is hidden; include francis.h first */
#include <stdio.h>

#define FRANCIS_IMPLEMENTATION
#include "francis.h"
