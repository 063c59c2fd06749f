/**
 * The checker of a container that clients make and delete. It judges by real time alone, and only where
 * no operation that could have changed the answer was under way or is undecided: an acknowledged
 * creation with no deletion since is there; an acknowledged deletion with nothing since is not.
 */
import { Violation } from './model.ts';

export type ContainerOperation = 'create' | 'delete' | 'look';

export interface ContainerRecord {
  readonly kind: ContainerOperation;
  readonly startMs: number;
  endMs: number;
  outcome: string | undefined;
}

export class ContainerModel {
  readonly #name: string;
  readonly #records: ContainerRecord[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  begin(kind: ContainerOperation, startMs: number): ContainerRecord {
    const record = { kind, startMs, endMs: Number.POSITIVE_INFINITY, outcome: undefined };
    this.#records.push(record);
    return record;
  }

  /** `outcome` undefined: no answer, or a failure; then it may take effect at any time. */
  end(record: ContainerRecord, outcome: string | undefined, nowMs: number): void {
    record.outcome = outcome;
    if (outcome === undefined) return;
    record.endMs = nowMs;
    const saysAbsent = outcome === 'absent' || outcome === 'no-container';
    if (saysAbsent && this.#mustExist(record)) {
      throw new Violation('honest 404', `container ${this.#name}: ${record.kind} says ${outcome}`);
    }
  }

  /** For a failure's message. */
  history(): string[] {
    return this.#records.map(({ kind, startMs, endMs, outcome }) => {
      return `${startMs.toFixed(1)}-${endMs.toFixed(1)} ${kind}: ${outcome ?? 'undecided'}`;
    });
  }

  /** Made before this began, and no deletion can have come after that. */
  #mustExist(by: ContainerRecord): boolean {
    const made = this.#records
      .filter(({ kind, outcome }) => kind === 'create' && outcome !== undefined)
      .filter((record) => record.endMs < by.startMs)
      .reduce((latest, { startMs }) => Math.max(latest, startMs), Number.NEGATIVE_INFINITY);
    if (made === Number.NEGATIVE_INFINITY) return false;
    return !this.#records.some(
      (record) =>
        record !== by &&
        record.kind === 'delete' &&
        record.endMs > made &&
        !['not-empty', 'no-container'].includes(record.outcome ?? ''),
    );
  }
}
