/* Included for its declarations twice, and only then instantiated; so in gnu modes. */
#include "francis.h"
#include "francis.h"
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include "francis.h"
