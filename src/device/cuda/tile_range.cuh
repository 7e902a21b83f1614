// Which tiles of the other side a run of places meets, and which of them need no mask. Both lists of a staircase
// interval never decrease, so the first `begin` and the last `end` of a run bound it, and the last `begin` and the
// first `end` bound what all of the run sees (DESIGN: the staircase).
#pragma once
#include "common.cuh"

struct TileRange {
  int begin, end;          // what any place of the run sees
  int fullBegin, fullEnd;  // what every place of the run sees; empty where begin exceeds end
  DEVICE bool full(int first, int last) const { return first >= fullBegin && last <= fullEnd; }
  DEVICE bool empty() const { return begin >= end; }
};

/** The range of places first..first+count-1, cut at `length`. A run that is cut is never full. */
DEVICE TileRange tile_range(const int* begins, const int* ends, int first, int count, int length) {
  TileRange r = {0, 0, 0x7fffffff, 0};
  if (first >= length) return r;
  int last = min(first + count, length) - 1;
  r.begin = __ldg(begins + first);
  r.end = __ldg(ends + last);
  if (first + count <= length) {
    r.fullBegin = __ldg(begins + last);
    r.fullEnd = __ldg(ends + first);
  }
  r.begin = uniform(r.begin);
  r.end = uniform(r.end);
  r.fullBegin = uniform(r.fullBegin);
  r.fullEnd = uniform(r.fullEnd);
  return r;
}
