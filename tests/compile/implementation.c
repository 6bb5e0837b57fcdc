/* The library on its own; C99 to C17, C++11 to C++20. */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
