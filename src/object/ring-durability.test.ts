/** What the meter makes of devices that answer in part, or not to the end. */
import { describe, expect, it } from 'vitest';
import { BUCKET_BITS } from '#device/contract.ts';
import { NO_FORMER } from '#ring/fields.ts';
import { Ring } from '#ring/ring.ts';
import { DurabilityCount } from './durability-report.ts';
import type { HoldingDigest, HoldingState } from './holdings.ts';
import type { HoldingsReader } from './holdings-reader.ts';
import { RingDurability } from './ring-durability.ts';

const BUCKET = 2 ** (BUCKET_BITS - 1);
const VERSION = `${'0'.repeat(20)}live.w`;
const POLICY = { index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict' } as const;

interface Fake {
  /** Names and whether the body is there. */
  holds: Record<string, boolean>;
  /** Answers so many calls; else all. */
  calls?: number;
  isIncomplete?: boolean;
}

/** All names are in one bucket; devices 0 to 2 are its primaries, others stand in. */
class Bench {
  readonly remembered = new Map<number, number>();
  readonly fakes: Fake[] = [];
  partPower = 1;

  async measure(): Promise<DurabilityCount> {
    const silent = new Set<number>();
    const left = this.fakes.map(({ calls }) => calls ?? Number.POSITIVE_INFINITY);
    const isAnswering = (id: number): boolean => {
      if (silent.has(id)) return false;
      if (left[id]!-- > 0) return true;
      silent.add(id);
      return false;
    };
    const reader = {
      answers: (id: number) => !silent.has(id) && left[id]! > 0,
      isComplete: (id: number) => this.fakes[id]!.isIncomplete !== true,
      digests: async (id: number, _: number, ranges: readonly { from: number }[]) =>
        isAnswering(id) ? ranges.map(({ from }) => digestOf(from, this.fakes[id]!)) : undefined,
      states: async (id: number) => (isAnswering(id) ? statesOf(this.fakes[id]!) : undefined),
    } as unknown as HoldingsReader;
    const count = new DurabilityCount();
    const common = { reader, count, policy: { ...POLICY, isDefault: true } };
    const ring = this.#ring();
    const { remembered } = this;
    await new RingDurability({ ...common, ring, notAfterMicros: 1, remembered }).run();
    return count;
  }

  #ring(): Ring {
    const devices = this.fakes.map((_, id) => {
      return { id, site: `s${id}`, zone: '1', node: `n${id}`, name: 'd1', weight: 100, meta: {} };
    });
    const { partPower } = this;
    const half = 2 ** (partPower - 1);
    const last = devices.length - 1;
    const columns = [0, 1, 2].map((id) =>
      new Uint16Array(2 * half).map((_, partition) => (partition < half ? last - id : id)),
    );
    const fields = { policy: 0, version: 1, partPower, copies: 3, devices, columns };
    return new Ring({ ...fields, former: NO_FORMER });
  }
}

function digestOf(from: number, { holds }: Fake): HoldingDigest {
  const names = from === BUCKET ? Object.keys(holds).sort() : [];
  const bodiless = names.filter((name) => !holds[name]).length;
  return [Buffer.from(names.join().padEnd(16)), names.length, names.length, bodiless];
}

function statesOf({ holds }: Fake): HoldingState[] {
  return Object.entries(holds).map(([name, hasBody]) => {
    const hash = Buffer.alloc(16, name);
    hash.writeUInt32BE(2 ** 31);
    return [hash, VERSION, true, hasBody, 0];
  });
}

function bench(...fakes: Fake[]): Bench {
  const made = new Bench();
  made.fakes.push(...fakes);
  return made;
}

const ALL = { holds: { a: true, b: true } };
const NOTHING = { full: 0, missing1: 0, missing2: 0, lost: 0, unreachable: 0 };

describe('objects of a partition', () => {
  it('are unreachable when the last that answered falls silent while it is asked', async () => {
    const made = bench({ ...ALL }, { ...ALL }, { holds: { a: true } });
    expect((await made.measure()).objects).toEqual({ ...NOTHING, total: 2, full: 1, missing1: 1 });
    for (const fake of made.fakes) fake.calls = 1; // the digests, and not the states
    for (let round = 0; round < 2; round++) {
      expect((await made.measure()).objects).toEqual({ ...NOTHING, total: 2, unreachable: 2 });
    }
  });

  it('are unreachable when only a device that was wiped answers', async () => {
    const made = bench({ ...ALL }, { ...ALL }, { ...ALL });
    await made.measure();
    made.fakes.splice(
      0,
      3,
      { ...ALL, calls: 0 },
      { ...ALL, calls: 0 },
      {
        holds: {},
        isIncomplete: true,
      },
    );
    for (let round = 0; round < 2; round++) {
      expect((await made.measure()).objects).toEqual({ ...NOTHING, total: 2, unreachable: 2 });
    }
  });

  it('are not lost while a device is silent that may stand in for them', async () => {
    const gone = { holds: { a: false } };
    const made = bench({ ...gone }, { ...gone }, { ...gone }, { holds: { a: true }, calls: 0 });
    expect((await made.measure()).objects).toEqual({ ...NOTHING, total: 1, unreachable: 1 });
    made.fakes[3] = { holds: {} };
    expect((await made.measure()).objects).toEqual({ ...NOTHING, total: 1, lost: 1 });
  });

  it('are known when the part power was raised while nobody answers for them', async () => {
    const others = [{ holds: {} }, { holds: {} }, { holds: {} }];
    const made = bench({ ...ALL }, { ...ALL }, { ...ALL }, ...others);
    await made.measure();
    made.partPower = 3;
    for (const fake of made.fakes.slice(0, 3)) fake.calls = 0;
    expect((await made.measure()).objects).toEqual({ ...NOTHING, total: 2, unreachable: 2 });
  });
});
