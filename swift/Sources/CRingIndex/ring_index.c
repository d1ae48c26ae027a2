#include "ring_index.h"  // SwiftPM wants a source file in each target
