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

/** What a run of places sees, begin to end; 0 to 0 if nothing, so that no tile is cut from it. */
struct Span {
  int begin, end;
  DEVICE Span() : begin(0), end(0) {}
  DEVICE Span(int b, int e) : begin(b < e ? b : 0), end(b < e ? e : 0) {}
};

/** The first two numbers of tile_range, when no more is needed. */
DEVICE Span tile_span(const int* begins, const int* ends, int first, int count, int length) {
  if (first >= length) return Span();
  return Span(__ldg(begins + first), __ldg(ends + min(first + count, length) - 1));
}

/** The range of places first..first+count-1, cut at `length`. A run that is cut is never full. */
DEVICE TileRange tile_range(const int* begins, const int* ends, int first, int count, int length) {
  TileRange r = {0, 0, 0x7fffffff, 0};
  if (first >= length) return r;
  int last = min(first + count, length) - 1;
  const Span span = tile_span(begins, ends, first, count, length);
  r.begin = span.begin;
  r.end = span.end;
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
