/**
 * Checkpoints off the event loop: one worker thread for all databases of the process, started with the
 * first checkpoint (a thread costs memory, and a proxy never needs one). It never keeps the process
 * alive.
 */
import { Worker } from 'node:worker_threads';
import { OperatingError } from '#base/errors.ts';

/** Plain JavaScript: type stripping in the thread would cost more memory than the thread itself. */
const WORKER = new URL('./checkpoint-worker.js', import.meta.url);
/** A thread that hits its limit ends the whole process (seen once, at its start, with a quarter of this); unused room costs nothing. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4, stackSizeMb: 1 };

export type CheckpointRequest =
  | { readonly kind: 'checkpoint'; readonly id: number; readonly path: string }
  | { readonly kind: 'release'; readonly path: string };

export interface CheckpointReply {
  readonly id: number;
  readonly complete: boolean;
  readonly error?: { readonly message: string; readonly code: string };
}

type Waiter = PromiseWithResolvers<boolean>;

export class Checkpointer {
  #worker: Worker | undefined;
  #nextId = 1;
  readonly #waiters = new Map<number, Waiter>();

  checkpoint(path: string): Promise<boolean> {
    const waiter = Promise.withResolvers<boolean>();
    const id = this.#nextId++;
    this.#waiters.set(id, waiter);
    const worker = (this.#worker ??= this.#start());
    worker.ref(); // a checkpoint under way is worth waiting for, an idle thread is not
    this.#send({ kind: 'checkpoint', id, path });
    return waiter.promise;
  }

  /** The thread closes its connection to this database. */
  release(path: string): void {
    this.#send({ kind: 'release', path });
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #send(request: CheckpointRequest): void {
    this.#worker?.postMessage(request);
  }

  #start(): Worker {
    const worker = new Worker(WORKER, { resourceLimits: RESOURCE_LIMITS, execArgv: [] });
    worker.on('message', (reply: CheckpointReply) => this.#settle(worker, reply));
    worker.on('error', (error) => this.#fail(worker, error));
    worker.on('exit', () => this.#fail(worker, undefined));
    worker.unref();
    return worker;
  }

  #settle(worker: Worker, reply: CheckpointReply): void {
    const waiter = this.#waiters.get(reply.id);
    this.#waiters.delete(reply.id);
    if (this.#waiters.size === 0) worker.unref();
    if (reply.error === undefined) waiter?.resolve(reply.complete);
    else waiter?.reject(Object.assign(new Error(reply.error.message), { code: reply.error.code }));
  }

  /** The thread died: whoever waits learns it, and the next checkpoint starts a new one. */
  #fail(worker: Worker, cause: unknown): void {
    if (this.#worker === worker) this.#worker = undefined;
    const waiters = [...this.#waiters.values()];
    this.#waiters.clear();
    for (const waiter of waiters) {
      waiter.reject(
        new OperatingError('checkpoint-thread', 'the checkpoint thread ended', {}, { cause }),
      );
    }
  }
}
