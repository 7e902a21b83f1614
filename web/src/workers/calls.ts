/** Calls from the page into a worker: typed by the worker's handlers, with events on the way and a way to cancel. */

/** What a handler gets besides its argument. */
export interface CallContext<Event> {
  readonly signal: AbortSignal;
  /** Tells the page something while the call goes on. */
  tell(event: Event): void;
}

/** biome-ignore lint/suspicious/noExplicitAny: any handler fits; `Call` brings its types back */
export type Handlers = Record<string, (argument: any, context: CallContext<any>) => unknown>;
type Argument<F extends Handlers[string]> = Parameters<F>[0];
type EventOf<F extends Handlers[string]> = Parameters<F>[1] extends CallContext<infer E> ? E : never;
type Result<F extends Handlers[string]> = Awaited<ReturnType<F>>;

type ToWorker = { id: number; name: string; argument: unknown } | { id: number; cancel: true };
type FromWorker = { id: number } & (
  | { event: unknown }
  | { result: unknown }
  | { error: { name: string; message: string; what?: string; remedy?: string } }
);

/** Marks buffers that a handler's result gives away instead of copying. */
export class Transfer<T> {
  constructor(
    readonly value: T,
    readonly buffers: readonly ArrayBufferLike[],
  ) {}
}
type Untransferred<T> = T extends Transfer<infer V> ? V : T;

/** In a worker: answers calls. Calls run as they come; a handler that must not be entered twice sees to it itself. */
export function serve(handlers: Handlers): void {
  const scope = globalThis as unknown as {
    onmessage: (event: MessageEvent<ToWorker>) => void;
    postMessage(message: FromWorker, transfer?: Transferable[]): void;
  };
  const running = new Map<number, AbortController>();
  scope.onmessage = async ({ data }) => {
    if ("cancel" in data) {
      running.get(data.id)?.abort();
      return;
    }
    const { id, name, argument } = data;
    const controller = new AbortController();
    running.set(id, controller);
    try {
      const context = { signal: controller.signal, tell: (event: unknown) => scope.postMessage({ id, event }) };
      const result = await handlers[name]!(argument, context);
      if (result instanceof Transfer) scope.postMessage({ id, result: result.value }, result.buffers as Transferable[]);
      else scope.postMessage({ id, result });
    } catch (error) {
      scope.postMessage({ id, error: plainly(error) });
    } finally {
      running.delete(id);
    }
  };
}

/** An error as it crosses: its name and words, and those of a `PlainError`. */
function plainly(error: unknown): { name: string; message: string; what?: string; remedy?: string } {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message, what, remedy } = error as Error & { what?: string; remedy?: string };
  return { name, message, ...(what !== undefined && { what }), ...(remedy !== undefined && { remedy }) };
}

export interface CallOptions<E> {
  readonly onEvent?: (event: E) => void;
  readonly signal?: AbortSignal;
}

/** In the page: a worker whose handlers can be called. */
export interface Remote<H extends Handlers> {
  call<N extends keyof H & string>(
    name: N,
    argument: Argument<H[N]>,
    options?: CallOptions<EventOf<H[N]>>,
  ): Promise<Untransferred<Result<H[N]>>>;
  /** Ends the worker at once; calls that wait are rejected. */
  close(): void;
}

export function connect<H extends Handlers>(worker: Worker): Remote<H> {
  interface Waiting {
    readonly resolve: (value: never) => void;
    readonly reject: (error: Error) => void;
    readonly onEvent: ((event: never) => void) | undefined;
  }
  const waiting = new Map<number, Waiting>();
  let calls = 0;
  let failure: Error | null = null;
  const fail = (name: string, message: string) => {
    failure = Object.assign(new Error(message), { name });
    for (const { reject } of waiting.values()) reject(failure);
    waiting.clear();
    worker.terminate();
  };
  worker.onerror = (event) => fail("WorkerError", event.message || "A part of the page could not be started.");
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    const call = waiting.get(data.id);
    if (!call) return;
    if ("event" in data) return call.onEvent?.(data.event as never);
    waiting.delete(data.id);
    if ("error" in data) call.reject(Object.assign(new Error(data.error.message), data.error));
    else call.resolve(data.result as never);
  };
  return {
    call: (name, argument, { onEvent, signal } = {}) =>
      new Promise((resolve, reject) => {
        if (failure) return reject(failure);
        const id = ++calls;
        waiting.set(id, { resolve: resolve as Waiting["resolve"], reject, onEvent: onEvent as Waiting["onEvent"] });
        worker.postMessage({ id, name, argument } satisfies ToWorker);
        signal?.addEventListener("abort", () => worker.postMessage({ id, cancel: true } satisfies ToWorker));
      }),
    close: () => fail("AbortError", "It was ended."),
  };
}
