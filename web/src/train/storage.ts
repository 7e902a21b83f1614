import type { LaneState } from "./lane.ts";
import type { LaneHistory } from "./race.ts";
import type { LaneName, TrainSettings } from "./settings.ts";
import type { TrainingText } from "./text.ts";

/** A race as this browser keeps it: enough to go on after a reload, to the same losses. */
export interface StoredRace {
  readonly version: 1;
  /** Milliseconds since 1970. */
  readonly savedAt: number;
  readonly settings: TrainSettings;
  readonly text: TrainingText;
  readonly lanes: Readonly<Record<LaneName, { readonly state: LaneState; readonly history: LaneHistory }>>;
}

const [databaseName, storeName, key] = ["scfa-playground", "races", "current"];

/** Replaces what is kept. @throws DOMException if the browser has no room, or keeps nothing */
export async function saveRace(race: StoredRace): Promise<void> {
  await inStore("readwrite", (store) => store.put(race, key));
}

/** What is kept; null if there is nothing, or nothing that this version can read. */
export async function loadRace(): Promise<StoredRace | null> {
  const race = (await inStore("readonly", (store) => store.get(key))) as StoredRace | undefined;
  return race?.version === 1 ? race : null;
}

export async function forgetRace(): Promise<void> {
  await inStore("readwrite", (store) => store.delete(key));
}

/** One request in a transaction of its own; resolves when the browser has it for good. */
async function inStore<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(storeName, mode);
      const request = ask(transaction.objectStore(storeName));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(databaseName, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(storeName);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
