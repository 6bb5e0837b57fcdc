/* A private copy of the library in a file that also uses it, beside others in the same program. */
#define FRANCIS_STATIC 1
#define FRANCIS_IMPLEMENTATION
#include "francis.h"

#include "use.c"
