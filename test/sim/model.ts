/**
 * The checkers of promises 1-8 (consistency.md), for one key at a time. They know the clients' history
 * and the timestamps under which writes were tried (tap.ts), and nothing of how the store works.
 *
 * The floor of a key is the highest timestamp of an acknowledged full write. Whatever begins after the
 * acknowledgement must see the floor's version or a write with a higher timestamp (promise 2), and a
 * full write must get a higher timestamp (3). "Not there" needs a deletion at or above the floor (4, 6).
 */
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { Content } from './content.ts';

export type WriteKind = 'put' | 'delete' | 'post';
/**
 * `none`: the client was told that nothing was stored. `partial`: acknowledged with the header
 * X-Anello-Ack, or in a container where an answer may mean that (promise 9).
 */
export type Outcome = 'pending' | 'full' | 'partial' | 'undecided' | 'none';
/** Whether a delete-at has passed, on clocks of which some are off. */
export type Expiry = 'before' | 'perhaps' | 'passed';

export interface WriteRecord {
  readonly id: number;
  readonly key: string;
  readonly kind: WriteKind;
  readonly startMs: number;
  endMs: number | undefined;
  outcome: Outcome;
  /** Under which it was tried, in order. */
  readonly timestamps: Timestamp[];
  /** Under which conditional rounds have stamped its content, or its metadata, anew. */
  readonly renewed: Set<Timestamp>;
  /** What somebody else wrote, and this write's own operation settled last: it may count as overwritten by that. */
  overwritten?: Overwriting;
  /** Of a deletion: how its tombstone is known again. */
  writeId?: string;
  /** Of a deletion: a replica said that it can't tell any more what was there, as repair had brought it this before. */
  isForgotten?: boolean;
  readonly content: Content | undefined;
  /** Unix seconds; of puts, and of posts, which without it take it away. */
  readonly deleteAt: number | undefined;
  readonly via: string;
}

export interface Overwriting {
  /** As it was settled. */
  readonly timestamp: Timestamp;
  readonly write?: number | undefined;
  /** Write id of a deletion. */
  readonly deletion?: string | undefined;
}

export interface Floor {
  /** Of puts and deletes. */
  readonly data: Timestamp;
  readonly dataWrite: WriteRecord | undefined;
  /** Of posts. */
  readonly post: Timestamp;
  readonly postWrite: WriteRecord | undefined;
}

const NO_FLOOR: Floor = {
  data: ZERO_TIMESTAMP,
  dataWrite: undefined,
  post: ZERO_TIMESTAMP,
  postWrite: undefined,
};

export interface Seen {
  readonly write: number;
  readonly timestamp: Timestamp;
  readonly etag: string;
  readonly size: number;
  /** The user group: whose tag, at which timestamp. */
  readonly tag?: string;
  readonly tagTimestamp?: Timestamp;
}

export class Violation extends Error {
  override readonly name = 'Violation';
  readonly promise: string;
  readonly key: string | undefined;

  constructor(promise: string, message: string, key?: string) {
    super(`promise "${promise}" broken: ${message}`);
    this.promise = promise;
    this.key = key;
  }
}

export class KeyModel {
  readonly key: string;
  /** Of the object in its container. */
  readonly name: string;
  readonly writes: WriteRecord[] = [];
  /** For what may show an older version. */
  readonly noFloor = NO_FLOOR;
  floor: Floor = NO_FLOOR;
  readonly #byId = new Map<number, WriteRecord>();
  readonly #expiry: (deleteAt: number) => Expiry;

  constructor(key: string, name: string, expiry: (deleteAt: number) => Expiry) {
    this.key = key;
    this.name = name;
    this.#expiry = expiry;
  }

  begin(record: WriteRecord): void {
    this.writes.push(record);
    this.#byId.set(record.id, record);
  }

  /** What somebody sends carries the content of one write, and perhaps the metadata of another. */
  attempted(timestamp: Timestamp, of: { write?: number; tag?: number; deletion?: string }): void {
    const { write, tag, deletion } = of;
    for (const id of [write, tag]) if (id !== undefined) this.#byId.get(id)?.renewed.add(timestamp);
    if (deletion === undefined) return;
    this.writes.find(({ writeId }) => writeId === deletion)?.renewed.add(timestamp);
  }

  /** A write was answered. `floor` is that of its beginning. */
  end(record: WriteRecord, outcome: Outcome, nowMs: number, floor: Floor): void {
    record.outcome = outcome;
    record.endMs = nowMs;
    if (outcome !== 'full') return;
    const timestamp = record.timestamps.at(-1);
    if (timestamp === undefined) {
      throw this.broken('acknowledge', `write ${record.id} was acknowledged and never sent`);
    }
    const above = maxTimestamp(floor.data, floor.post);
    const rival = this.#rivalOf(record);
    if (timestamp <= above && rival !== undefined && record.overwritten!.timestamp > above) {
      this.#raise(rival, record.overwritten!.timestamp);
      return;
    }
    if (timestamp <= above) {
      const earlier = floor.data > floor.post ? floor.dataWrite : floor.postWrite;
      throw this.broken(
        'order',
        `${record.kind} ${record.id} at ${timestamp} is below ${earlier?.kind} ${earlier?.id} at ${above}, acknowledged before it began`,
      );
    }
    this.#raise(record, timestamp);
  }

  /**
   * Of a write that was nowhere above what was there, and counts as overwritten by one that came after it had begun (seed
   * 11003006): that one. It was not acknowledged before this one began.
   */
  #rivalOf({ overwritten, startMs }: WriteRecord): WriteRecord | undefined {
    if (overwritten === undefined) return undefined;
    const { write, deletion } = overwritten;
    const rival =
      write === undefined
        ? this.writes.find(({ writeId }) => deletion !== undefined && writeId === deletion)
        : this.#byId.get(write);
    const isOver = rival?.outcome === 'full' && rival.endMs! <= startMs;
    return isOver ? undefined : rival;
  }

  /** When all is at rest, what was acknowledged in part must be there too (promise 9, first half). */
  raisePartial(): void {
    for (const record of this.writes) {
      const timestamp = record.timestamps.at(-1);
      if (record.outcome === 'partial' && timestamp !== undefined) this.#raise(record, timestamp);
    }
  }

  #raise(record: WriteRecord, timestamp: Timestamp): void {
    if (record.kind === 'post') {
      if (timestamp > this.floor.post)
        this.floor = { ...this.floor, post: timestamp, postWrite: record };
    } else if (timestamp > this.floor.data) {
      this.floor = { ...this.floor, data: timestamp, dataWrite: record };
    }
  }

  /** A live version was seen by something that began with this floor. */
  sawLive(seen: Seen, floor: Floor, by: string): void {
    const record = this.#byId.get(seen.write);
    if (record === undefined || record.content === undefined) {
      throw this.broken('one version', `${by} saw write ${seen.write}, which was never made`);
    }
    const { content, outcome } = record;
    if (outcome === 'none') {
      throw this.broken('undecided', `${by} saw write ${record.id}, which was refused`);
    }
    if (seen.etag !== content.etag || seen.size !== content.size) {
      throw this.broken('one version', `${by} saw write ${record.id} with another etag or size`);
    }
    if (!wasAt(record, seen.timestamp)) {
      throw this.broken(
        'one version',
        `${by} saw write ${record.id} at ${seen.timestamp}, where it never was`,
      );
    }
    if (seen.timestamp < floor.data) throw this.#wentBack(by, record, seen.timestamp, floor);
    this.#checkTag(seen, floor, by);
    this.#checkExpiry(seen, by);
  }

  /** Long after its delete-at, on any clock, it is not shown any more. */
  #checkExpiry(seen: Seen, by: string): void {
    if (seen.tag === undefined) return;
    const source = this.#byId.get(Number(seen.tag));
    const { deleteAt } = source ?? {};
    if (deleteAt === undefined || this.#expiry(deleteAt) !== 'passed') return;
    throw this.broken('expiry', `${by} saw put ${seen.write}, which expired at ${deleteAt}`);
  }

  /** Whether what this floor names, or something newer, may have expired. */
  #mayBeExpired(floor: Floor): boolean {
    const top = maxTimestamp(floor.data, floor.post);
    return this.writes.some(
      (write) =>
        write.deleteAt !== undefined &&
        write.outcome !== 'none' &&
        this.#expiry(write.deleteAt) !== 'before' &&
        highest(write) >= top,
    );
  }

  #checkTag(seen: Seen, floor: Floor, by: string): void {
    if (seen.tag === undefined && seen.tagTimestamp === undefined && floor.post <= seen.timestamp)
      return;
    const at = seen.tagTimestamp ?? ZERO_TIMESTAMP;
    if (floor.post > seen.timestamp && at < floor.post) {
      throw this.broken(
        'read after write',
        `${by} saw metadata at ${at}, post ${floor.postWrite?.id} was acknowledged at ${floor.post}`,
      );
    }
    const writer = seen.tag === undefined ? undefined : this.#byId.get(Number(seen.tag));
    if (seen.tag !== undefined && (writer === undefined || !wasAt(writer, at))) {
      throw this.broken('one version', `${by} saw metadata ${seen.tag} at ${at}: never written`);
    }
  }

  /** A row of a listing: the write's timestamp is not shown, so its highest counts. */
  sawRow(seen: Pick<Seen, 'write' | 'etag' | 'size'>, floor: Floor, by: string): void {
    const record = this.#byId.get(seen.write);
    const timestamp = record === undefined ? ZERO_TIMESTAMP : highest(record);
    if (record !== undefined && record.content !== undefined && timestamp < floor.data) {
      throw this.#wentBack(by, record, timestamp, floor);
    }
    // A row does not tell which post was the last, so only one without any is judged by its expiry.
    const isPosted = this.writes.some(({ kind }) => kind === 'post');
    const tag = isPosted ? {} : { tag: String(seen.write), tagTimestamp: timestamp };
    this.sawLive({ ...seen, timestamp, ...tag }, { ...floor, post: ZERO_TIMESTAMP }, by);
  }

  /** "Not there", answered to something that began with this floor. `except`: the deletion that says so itself. */
  sawNothing(floor: Floor, by: string, except?: WriteRecord): void {
    const { dataWrite } = floor;
    if (dataWrite === undefined || dataWrite.kind === 'delete') return;
    const deletion = this.writes.find(
      (write) =>
        write !== except &&
        write.kind === 'delete' &&
        write.outcome !== 'none' &&
        highest(write) > floor.data,
    );
    if (deletion !== undefined || this.#mayBeExpired(floor)) return;
    throw this.broken(
      'honest 404',
      `${by} says not found; put ${dataWrite.id} was acknowledged at ${floor.data} and nothing deleted it`,
    );
  }

  /**
   * Something says that a version lives, without saying which. `deletion`: the one that says so itself. Where
   * it was sent again, or repair was faster than its call, it may have found only what it left, and then says
   * 204 rather than 404 (seeds 2047, 905573).
   */
  sawSomething(floor: Floor, by: string, deletion?: WriteRecord): void {
    if (floor.dataWrite?.kind === 'put') return;
    if (deletion !== undefined && (deletion.timestamps.length > 1 || deletion.isForgotten)) return;
    const put = this.writes.find(
      (write) => write.kind === 'put' && write.outcome !== 'none' && highest(write) > floor.data,
    );
    if (put !== undefined) return;
    throw this.broken('deleted stays deleted', `${by} says it is there, and nothing lives`);
  }

  #wentBack(by: string, record: WriteRecord, timestamp: Timestamp, floor: Floor): Violation {
    const { dataWrite } = floor;
    const promise = dataWrite?.kind === 'delete' ? 'deleted stays deleted' : 'read after write';
    return this.broken(
      promise,
      `${by} saw put ${record.id} at ${timestamp}; ${dataWrite?.kind} ${dataWrite?.id} was acknowledged at ${floor.data} before it began`,
    );
  }

  broken(promise: string, message: string): Violation {
    return new Violation(promise, `${this.key}: ${message}`, this.key);
  }

  /** For a failure's message. */
  history(): string[] {
    return this.writes.map((write) => {
      const end = write.endMs === undefined ? '' : write.endMs.toFixed(1);
      return `${write.startMs.toFixed(1)}-${end} ${write.kind} ${write.id} via ${write.via}: ${write.outcome} ${write.timestamps.join(' ')}${describe(write)}`;
    });
  }
}

function wasAt({ timestamps, renewed }: WriteRecord, timestamp: Timestamp): boolean {
  return timestamps.includes(timestamp) || renewed.has(timestamp);
}

function highest({ timestamps, renewed }: WriteRecord): Timestamp {
  return [...timestamps, ...renewed].reduce(maxTimestamp, ZERO_TIMESTAMP);
}

function describe({ content, deleteAt }: WriteRecord): string {
  const size = content === undefined ? '' : ` (${content.size} bytes)`;
  return deleteAt === undefined ? size : `${size} until ${deleteAt}`;
}
