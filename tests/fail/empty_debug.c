/* A switch that is defined without a value would silently count as off.
 * cc: -c
 * says: a switch is defined without a value */
#define FRANCIS_DEBUG
#include "francis.h"
