// A counter that one thread advances and another reads, without a lock: an audio thread must never
// wait. Swift has such counters from iOS 18 on only.
#ifndef POCKET_TTS_RING_INDEX_H
#define POCKET_TTS_RING_INDEX_H

#include <stdint.h>

static inline int64_t ring_index_load(const int64_t* index) {
  return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

static inline void ring_index_store(int64_t* index, int64_t value) {
  __atomic_store_n(index, value, __ATOMIC_RELEASE);
}

#endif  // POCKET_TTS_RING_INDEX_H
