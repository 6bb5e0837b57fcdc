/* The library with its simulator; C99 to C17, C++11 to C++20. */
#define FRANCIS_SIM
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
