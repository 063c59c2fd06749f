/**
 * Events that wait to be sent: small objects, one for each event and receiver, in a container of the
 * store's own per bucket. Who writes an object answers its client when they are kept, so that no
 * acknowledged write goes untold; who was not answered may find the write done and nobody told.
 *
 *   /.s3-events/ACCOUNT:BUCKET/MICROS-RANDOM-RECEIVER   {"anello-event": 1, "url": "...", "body": {...}}
 *
 * They expire by themselves after a day: a receiver that is gone for good must not fill the store.
 */
import { hash } from 'node:crypto';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { ContainerName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { Operation, PutResult, Store } from '../contract.ts';

const EVENTS_ACCOUNT = '.s3-events';
/** Marks a container as a queue, for the walk that finds it. */
export const QUEUE_HEADER = 's3-queue';

const VERSION = 1;
const KEPT_SECONDS = 24 * 3600;
const MAX_QUEUED = 100_000;
const MICROS_DIGITS = 17;

const schema = z.object({
  'anello-event': z.literal(VERSION),
  url: z.string(),
  body: z.unknown(),
});

export interface QueuedEvent {
  readonly url: string;
  /** What is sent, as JSON. */
  readonly body?: unknown;
}

export class EventQueue {
  readonly #env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly #store: Store;

  constructor(env: Pick<Env, 'clock' | 'random' | 'log'>, store: Store) {
    this.#env = env;
    this.#store = store;
  }

  /** @throws OperatingError `unavailable`, ...: not kept */
  async add(operation: Operation, bucket: ContainerName, event: QueuedEvent): Promise<void> {
    const container = queueOf(bucket);
    const known = await this.#store.containerInfo(operation, container, false);
    if (known !== undefined && known.objects >= MAX_QUEUED) {
      this.#env.log.warn('s3.event-dropped', { ...bucket, url: event.url, why: 'too many wait' });
      return;
    }
    const micros = this.#env.clock.wallMicros();
    const random = this.#env.random.bytes(8).toString('hex');
    const receiver = hash('md5', event.url);
    const object = `${String(micros).padStart(MICROS_DIGITS, '0')}-${random}-${receiver}`;
    const body = Buffer.from(JSON.stringify({ 'anello-event': VERSION, ...event }));
    const put = (): Promise<PutResult> =>
      this.#store.putObject(
        operation,
        { ...container, object },
        {
          ...{ user: {}, system: {}, contentType: 'application/json' },
          ...{ body: once(body), length: body.length, maxLength: body.length },
          deleteAt: Math.floor(micros / 1e6) + KEPT_SECONDS,
        },
      );
    if (known !== undefined && (await put()).kind === 'stored') return;
    const changes = { [QUEUE_HEADER]: '1' };
    await this.#store.createContainer(operation, container, { changes });
    if ((await put()).kind === 'stored') return;
    throw new OperatingError('unavailable', 'the queue of events could not be made');
  }

  /** Undefined: sent by another, or expired. */
  async read(
    operation: Operation,
    queue: ContainerName,
    object: string,
  ): Promise<QueuedEvent | undefined> {
    const reader = await this.#store.openObject(operation, { ...queue, object });
    if (reader === undefined) return undefined;
    const chunks: Buffer[] = [];
    for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
    return schema.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
  }
}

/** Who is to be told, without a look at the event: equal for equal URLs. */
export function receiverOf(object: string): string {
  return object.slice(object.lastIndexOf('-') + 1);
}

export function queueOf({ account, container }: ContainerName): ContainerName {
  return { account: EVENTS_ACCOUNT, container: `${encodeURIComponent(account)}:${container}` };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
