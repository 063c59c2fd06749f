/**
 * Who works on a bucket's job, for how long, and how far it is: one small object per bucket and job, its
 * lease and its place in one record, so that whoever takes over goes on where the last one was.
 *
 *   /.s3-jobs/JOB/ACCOUNT:BUCKET
 *   {"anello-job": 1, "holder": "NODE", "untilMs": N, "goal": "...", "place": "...", "done": false}
 *
 * Written by linearizable conditional puts, so of two that want the lease one gets it; needs no state
 * store, which storage nodes don't have. A holder that was away for longer than its lease may still be
 * at work when the next begins: what a job does must therefore be right when it is done twice.
 */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { ContainerName, ObjectName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import { type Condition, IF_ABSENT } from '../condition.ts';
import type { Operation, PutResult, Store } from '../contract.ts';

const JOBS_ACCOUNT = '.s3-jobs';
export const LEASE_MS = 60_000;
const VERSION = 1;

const schema = z.object({
  'anello-job': z.literal(VERSION),
  holder: z.string(),
  untilMs: z.number(),
  /** What the round is for: another goal begins a new one. */
  goal: z.string(),
  place: z.string(),
  done: z.boolean(),
});

type Fields = Omit<z.infer<typeof schema>, 'anello-job'>;

interface Found extends Fields {
  readonly etag: string;
}

/** A lease that is held: write the next place with it. */
export interface Held {
  readonly bucket: ContainerName;
  readonly goal: string;
  readonly place: string;
  readonly etag: string;
}

export type Claim =
  | { readonly kind: 'held'; readonly held: Held }
  | { readonly kind: 'done' }
  /** Another one has it. */
  | { readonly kind: 'taken' };

export interface JobRecordsOptions {
  readonly env: Pick<Env, 'clock'>;
  readonly store: Store;
  /** The job's container. */
  readonly job: string;
  readonly holder: string;
}

export class JobRecords {
  readonly #options: JobRecordsOptions;

  constructor(options: JobRecordsOptions) {
    this.#options = options;
  }

  /** `patienceMs`: how long the lease of another must have been over. */
  async claim(
    operation: Operation,
    bucket: ContainerName,
    goal: string,
    patienceMs: number,
  ): Promise<Claim> {
    const found = await this.#read(operation, bucket);
    if (found?.done === true && found.goal === goal) return { kind: 'done' };
    const { holder } = this.#options;
    const isOver = (found?.untilMs ?? 0) + patienceMs <= this.#nowMs();
    if (found !== undefined && found.holder !== holder && !isOver) return { kind: 'taken' };
    const place = found?.goal === goal ? found.place : '';
    const held = await this.#write(operation, bucket, found?.etag, { goal, place, done: false });
    return held === undefined ? { kind: 'taken' } : { kind: 'held', held };
  }

  /** As it is, for people who look at it. */
  look(operation: Operation, bucket: ContainerName): Promise<Omit<Found, 'etag'> | undefined> {
    return this.#read(operation, bucket);
  }

  /** The next place, and the lease for as long again. Undefined: another one has it. */
  async advance(operation: Operation, held: Held, place: string): Promise<Held | undefined> {
    const { bucket, goal, etag } = held;
    return await this.#write(operation, bucket, etag, { goal, place, done: false });
  }

  async finish(operation: Operation, { bucket, goal, etag }: Held): Promise<void> {
    await this.#write(operation, bucket, etag, { goal, place: '', done: true });
  }

  async #read(operation: Operation, bucket: ContainerName): Promise<Found | undefined> {
    const reader = await this.#options.store.openObject(
      { ...operationOf(operation), read: 'newest' },
      this.#nameOf(bucket),
    );
    if (reader === undefined) return undefined;
    const chunks: Buffer[] = [];
    for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
    return { ...decode(Buffer.concat(chunks)), etag: reader.state.data?.etag ?? '' };
  }

  async #write(
    operation: Operation,
    bucket: ContainerName,
    etag: string | undefined,
    fields: Pick<Fields, 'goal' | 'place' | 'done'>,
  ): Promise<Held | undefined> {
    const { store, holder, job } = this.#options;
    const untilMs = fields.done ? 0 : this.#nowMs() + LEASE_MS;
    const body = Buffer.from(JSON.stringify({ 'anello-job': VERSION, holder, untilMs, ...fields }));
    const put = (): Promise<PutResult> =>
      store.putObject(operation, this.#nameOf(bucket), {
        user: {},
        system: {},
        contentType: 'application/json',
        body: once(body),
        length: body.length,
        maxLength: body.length,
        condition: unchanged(etag),
      });
    let result = await put();
    if (result.kind === 'no-container') {
      const container = { account: JOBS_ACCOUNT, container: job };
      await store.createContainer(operation, container, { mode: 'strict', changes: {} });
      result = await put();
    }
    if (result.kind !== 'stored') return undefined;
    return { bucket, goal: fields.goal, place: fields.place, etag: result.etag };
  }

  #nameOf({ account, container }: ContainerName): ObjectName {
    const object = `${encodeURIComponent(account)}:${container}`;
    return { account: JOBS_ACCOUNT, container: this.#options.job, object };
  }

  #nowMs(): number {
    return Math.floor(this.#options.env.clock.wallMicros() / 1000);
  }
}

function operationOf({ txn, signal }: Operation): Pick<Operation, 'txn' | 'signal'> {
  return { txn, signal };
}

function unchanged(etag: string | undefined): Condition {
  return etag === undefined ? IF_ABSENT : { holds: (current) => current?.data?.etag === etag };
}

/** What can't be read is begun anew, but for the record of a newer version: its writer is at work. */
function decode(bytes: Buffer): Fields {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    value = undefined; // Not JSON: as one that nobody wrote.
  }
  const version = (value as { readonly 'anello-job'?: unknown } | undefined)?.['anello-job'];
  if (typeof version === 'number' && version > VERSION) {
    throw new OperatingError('newer-format', 'the record of a job of a newer version', { version });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  return { holder: '', untilMs: 0, goal: '', place: '', done: false };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
