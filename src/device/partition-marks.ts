/**
 * Fences and what was learnt, per ring (see PartitionVersions): kept by synced log records that carry
 * all marks of a ring, so the last record is the truth.
 *
 * A fence is in force at once and promised when its record is synced: writes that were let in before
 * it are in the log before the record, so whoever hears "fenced" finds them in what it reads next.
 * What was learnt counts only from the sync on.
 */
import { OperatingError } from '#base/errors.ts';
import type { AppendPartition } from './completeness.ts';
import type { PartitionVersions } from './contract.ts';
import { BUCKETS, bucketOf } from './digest-table.ts';
import type { MarksExtra } from './record-extra.ts';
import {
  highestVersion,
  kept,
  leastVersion,
  MAX_MARKS,
  parseMarks,
  type Range,
  raised,
  type VersionMarks,
  versionAt,
} from './version-marks.ts';

type What = 'fence' | 'learnt';
const NONE: VersionMarks = [];

export class PartitionMarks implements PartitionVersions {
  readonly #marks = {
    fence: new Map<number, VersionMarks>(),
    learnt: new Map<number, VersionMarks>(),
  };
  readonly #append: AppendPartition;
  #queue: Promise<void> = Promise.resolve();
  #forgetful = false;

  constructor(append: AppendPartition) {
    this.#append = append;
  }

  get forgetful(): boolean {
    return this.#forgetful;
  }

  /** Records of it may have been lost. */
  doubt(): void {
    this.#forgetful = true;
  }

  /** What may have been lost is made up for. */
  trust(): void {
    this.#forgetful = false;
  }

  fenceOf(policy: number, hash: Buffer): number {
    const marks = this.#marks.fence.get(policy);
    return marks === undefined ? 0 : versionAt(marks, bucketOf(hash));
  }

  fenceIn(policy: number, from: number, to: number): number {
    return highestVersion(this.#of('fence', policy), [from, to]);
  }

  fence(policy: number, ranges: readonly Range[], version: number): Promise<void> {
    const before = this.#of('fence', policy);
    const after = raised(before, ranges, version);
    // Too many places: the whole ring. Callers refused without need fetch the ring, and go on.
    const whole: Range = [0, BUCKETS];
    const marks = isTooMany(after) ? raised(NONE, [whole], highestVersion(after, whole)) : after;
    this.#marks.fence.set(policy, marks);
    return this.#change(() => this.#record('fence', policy));
  }

  learntOf(policy: number, from: number, to: number): number {
    return leastVersion(this.#of('learnt', policy), [from, to]);
  }

  /** @throws OperatingError `too-many-ranges`; the device's errors */
  learnt(policy: number, ranges: readonly Range[], version: number): Promise<void> {
    return this.#change(async () => {
      const marks = raised(this.#of('learnt', policy), ranges, version);
      if (isTooMany(marks)) throw new OperatingError('too-many-ranges', 'too much is moving');
      await this.#append(policy, { what: 'learnt', marks });
      this.#marks.learnt.set(policy, marks);
    });
  }

  prune(
    policy: number,
    isWanted: (from: number, to: number, version: number) => boolean,
  ): Promise<void> {
    return this.#change(async () => {
      for (const what of ['fence', 'learnt'] as const) {
        const before = this.#of(what, policy);
        const after = kept(before, ([from, to], version) => isWanted(from, to, version));
        if (after.length === before.length) continue;
        this.#marks[what].set(policy, after);
        await this.#record(what, policy);
      }
    });
  }

  /** From the log, during replay. */
  replay(policy: number, extra: MarksExtra): void {
    this.#marks[extra.what].set(policy, extra.marks);
  }

  /** Says everything again at the end of the log, before a segment with older records goes. */
  rewrite(): Promise<void> {
    return this.#change(async () => {
      for (const what of ['fence', 'learnt'] as const) {
        for (const policy of this.#marks[what].keys()) await this.#record(what, policy);
      }
    });
  }

  /** For the index: [[what, policy, marks] ...]. A fence that is not synced yet may be in it. */
  export(): unknown {
    return (['fence', 'learnt'] as const).flatMap((what) =>
      [...this.#marks[what]].map(([policy, marks]) => [what, policy, marks]),
    );
  }

  import(value: unknown): void {
    if (!Array.isArray(value)) return;
    for (const [what, policy, list] of value as [What, number, unknown][]) {
      const marks = parseMarks(list, BUCKETS);
      if (marks !== undefined && what in this.#marks) this.#marks[what].set(policy, marks);
    }
  }

  #of(what: What, policy: number): VersionMarks {
    return this.#marks[what].get(policy) ?? NONE;
  }

  /** All that holds at this moment: a later record never says less than an earlier one promised. */
  #record(what: What, policy: number): Promise<void> {
    return this.#append(policy, { what, marks: this.#of(what, policy) });
  }

  #change(step: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(step);
    this.#queue = done.catch(() => undefined); // the caller has the error
    return done;
  }
}

function isTooMany(marks: VersionMarks): boolean {
  return marks.length > 3 * MAX_MARKS;
}
