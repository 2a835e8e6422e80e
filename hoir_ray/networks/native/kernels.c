/* Everything that is compiled for layers and networks, once with -DREAL=float and once with -DREAL=double. */

#include "steps.h"
