import type { LaneState } from "./lane.ts";
import type { LaneHistory } from "./race.ts";
import type { LaneName, TrainSettings } from "./settings.ts";
import type { TrainingText } from "./text.ts";

/** A race as this browser keeps it: enough to go on after a reload, to the same losses. */
export interface StoredRace extends RaceState {
  readonly text: TrainingText;
}

/** All of it that changes as it goes. */
export interface RaceState {
  readonly version: 1;
  /** Milliseconds since 1970. */
  readonly savedAt: number;
  readonly settings: TrainSettings;
  readonly lanes: Readonly<Record<LaneName, { readonly state: LaneState; readonly history: LaneHistory }>>;
}

const [databaseName, storeName] = ["scfa-playground", "races"];
const keys = { state: "state", text: "text" } as const;

/** Keeps the text of a race, which may be long and never changes, in place of any race before. */
export async function keepText(text: TrainingText): Promise<void> {
  await inStore("readwrite", (store) => {
    store.clear();
    store.put(text, keys.text);
  });
}

/** Replaces what is kept of the race. @throws DOMException if the browser has no room, or keeps nothing */
export async function keepState(state: RaceState): Promise<void> {
  await inStore("readwrite", (store) => store.put(state, keys.state));
}

/** What is kept; null if there is nothing, or nothing that this version can read. */
export async function loadRace(): Promise<StoredRace | null> {
  const requests = await inStore("readonly", (store) => ({ state: store.get(keys.state), text: store.get(keys.text) }));
  const [state, text] = [
    requests.state.result as RaceState | undefined,
    requests.text.result as TrainingText | undefined,
  ];
  return state?.version === 1 && text ? { ...state, text } : null;
}

export async function forgetRace(): Promise<void> {
  await inStore("readwrite", (store) => store.clear());
}

/** Some requests in a transaction of their own; resolves when the browser has them for good. */
async function inStore<R>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => R): Promise<R> {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(storeName, mode);
      const requests = ask(transaction.objectStore(storeName));
      transaction.oncomplete = () => resolve(requests);
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
