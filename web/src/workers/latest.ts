/** Work that is done once at a time; whatever is asked for while it goes on is done once more, after it. */
export function latest(work: () => Promise<void>): () => Promise<void> {
  let isStale = false;
  let running: Promise<void> | null = null;
  const untilFresh = async () => {
    try {
      while (isStale) {
        isStale = false;
        await work();
      }
    } finally {
      running = null;
    }
  };
  return () => {
    isStale = true;
    running ??= untilFresh();
    return running;
  };
}
