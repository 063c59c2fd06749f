/**
 * Server access logs: a line for each request about a bucket that wants one, in S3's form, kept in memory
 * and written as an object of the target bucket every minute. A best effort, as S3's own: what a proxy has
 * not written when it dies is lost, and what can't be written for long is dropped and counted.
 */
import { codeOf } from '#base/errors.ts';
import type { Operation } from '#proxy/contract.ts';
import { lineOf } from './access-log-line.ts';
import type { Bucket } from './bucket.ts';
import { decodeLogging, LOGGING_HEADER, type Logging } from './logging-rules.ts';
import type { S3Request } from './request.ts';
import type { S3Service } from './service.ts';

/** Lines of one source that go to one target. */
interface Batch {
  readonly logging: Logging;
  readonly account: string;
  readonly source: string;
  readonly lines: string[];
  readonly firstMicros: number;
  bytes: number;
}

const MAX_BATCH_BYTES = 1024 * 1024;
/** All batches together. */
const MAX_BYTES = 16 * 1024 * 1024;
const UNIQUE_BYTES = 8;

export class AccessLog {
  readonly #service: Pick<S3Service, 'store' | 'env' | 'region' | 'limits'>;
  readonly #batches = new Map<string, Batch>();
  readonly #writing = new Set<Promise<void>>();
  #bytes = 0;
  #dropped = 0;
  #isWaiting = false;

  constructor(service: Pick<S3Service, 'store' | 'env' | 'region' | 'limits'>) {
    this.#service = service;
  }

  /** A request that is over. Never throws: it has been answered. */
  add(request: S3Request, elapsedMs: number): void {
    const { found } = request;
    const text = found?.info.headers[LOGGING_HEADER];
    if (found === undefined || text === undefined) return;
    try {
      this.#keep(found, text, lineOf(request, found, elapsedMs));
    } catch (error) {
      // A query that is no UTF-8, or a configuration of a newer version.
      this.#service.env.log.warn('s3.access-log-lost', { txn: request.txn, error: codeOf(error) });
    }
  }

  /** Resolves when all that is waiting has been written, or has failed. */
  async flush(): Promise<void> {
    for (const batch of [...this.#batches.values()]) this.#write(batch);
    await Promise.all(this.#writing);
  }

  #keep(found: Bucket, text: string, line: string): void {
    const size = Buffer.byteLength(line);
    if (this.#bytes + size > MAX_BYTES) {
      this.#drop(1);
      return;
    }
    const batch = this.#batchOf(found, text);
    batch.lines.push(line);
    batch.bytes += size;
    this.#bytes += size;
    if (batch.bytes >= MAX_BATCH_BYTES) this.#write(batch);
    this.#later();
  }

  #batchOf({ account, container, info }: Bucket, text: string): Batch {
    const key = `${account}/${info.name.container} ${text}`;
    const known = this.#batches.get(key);
    if (known !== undefined) return known;
    const firstMicros = this.#service.env.clock.wallMicros();
    const logging = decodeLogging(text);
    const batch = { logging, account, source: container, lines: [], firstMicros, bytes: 0 };
    this.#batches.set(key, batch);
    return batch;
  }

  #later(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#service.env.clock.setTimer(this.#service.limits.accessLogMs, () => {
      this.#isWaiting = false;
      void this.flush();
    });
  }

  #write(batch: Batch): void {
    for (const [key, known] of this.#batches) if (known === batch) this.#batches.delete(key);
    const work = this.#put(batch)
      .catch((error) => {
        const { source, lines } = batch;
        this.#drop(lines.length);
        this.#service.env.log.warn('s3.access-log-lost', { source, error: codeOf(error) });
      })
      .finally(() => {
        this.#bytes -= batch.bytes;
        this.#writing.delete(work);
      });
    this.#writing.add(work);
  }

  async #put(batch: Batch): Promise<void> {
    const { store, env } = this.#service;
    const body = Buffer.from(batch.lines.join(''));
    const unique = env.random.bytes(UNIQUE_BYTES).toString('hex').toUpperCase();
    const object = this.#keyOf(batch, unique);
    const operation: Operation = {
      txn: `log-${unique}`,
      signal: new AbortController().signal,
      read: 'quorum',
    };
    const name = { account: batch.account, container: batch.logging.target, object };
    const result = await store.putObject(operation, name, {
      ...{ user: {}, system: {}, contentType: 'text/plain' },
      ...{ body: once(body), length: body.length, maxLength: body.length },
    });
    if (result.kind !== 'stored') this.#drop(batch.lines.length);
  }

  #keyOf({ logging, account, source, firstMicros }: Batch, unique: string): string {
    const micros =
      logging.dates === 'EventTime' ? firstMicros : this.#service.env.clock.wallMicros();
    const time = new Date(micros / 1000).toISOString().slice(0, 19);
    const [year, month, day] = time.slice(0, 10).split('-');
    const name = `${time.replace('T', '-').replaceAll(':', '-')}-${unique}`;
    if (logging.dates === undefined) return logging.prefix + name;
    const { region } = this.#service;
    return `${logging.prefix}${account}/${region}/${source}/${year}/${month}/${day}/${name}`;
  }

  #drop(lines: number): void {
    // Told at the first of them, and of each thousand.
    if (this.#dropped % 1000 === 0) {
      this.#service.env.log.warn('s3.access-log-full', { dropped: this.#dropped + lines });
    }
    this.#dropped += lines;
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
