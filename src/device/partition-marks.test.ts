import { describe, expect, it } from 'vitest';
import { PartitionMarks } from './partition-marks.ts';
import type { PartitionExtra } from './record-extra.ts';
import { decodePartitionExtra, encodePartitionExtra } from './record-extra.ts';
import { MAX_MARKS } from './version-marks.ts';

const hashIn = (bucket: number): Buffer => {
  const hash = Buffer.alloc(16);
  hash.writeUInt32BE((bucket << 12) >>> 0);
  return hash;
};

/** A log that a test can hold up, and read again. */
class Log {
  readonly records: PartitionExtra[] = [];
  #held: (() => void)[] = [];
  isHeld = false;

  readonly append = async (_policy: number, extra: PartitionExtra): Promise<void> => {
    if (this.isHeld) await new Promise<void>((resolve) => this.#held.push(resolve));
    this.records.push(extra);
  };

  release(): void {
    this.isHeld = false;
    for (const resolve of this.#held.splice(0)) resolve();
  }

  replayed(): PartitionMarks {
    const marks = new PartitionMarks(this.append);
    for (const record of this.records) {
      const extra = decodePartitionExtra(encodePartitionExtra(record))!;
      if ('marks' in extra) marks.replay(1, extra);
    }
    return marks;
  }
}

describe('fences', () => {
  it('hold at once, and are promised when they are synced', async () => {
    const log = new Log();
    log.isHeld = true;
    const marks = new PartitionMarks(log.append);
    let synced = false;
    const done = marks.fence(1, [[10, 20]], 5).then(() => {
      synced = true;
    });
    expect(marks.fenceOf(1, hashIn(10))).toBe(5);
    await new Promise((resolve) => setImmediate(resolve));
    expect(synced).toBe(false);
    log.release();
    await done;
    expect(log.replayed().fenceOf(1, hashIn(19))).toBe(5);
  });

  it('are of one ring and range, and never go back', async () => {
    const marks = new PartitionMarks(new Log().append);
    await marks.fence(1, [[10, 20]], 5);
    await marks.fence(1, [[15, 30]], 3);
    expect([9, 10, 15, 20, 30].map((bucket) => marks.fenceOf(1, hashIn(bucket)))).toEqual([
      0, 5, 5, 3, 0,
    ]);
    expect(marks.fenceOf(2, hashIn(15))).toBe(0);
  });

  it('in more places than can be kept close the whole ring, which refuses too much and never too little', async () => {
    const marks = new PartitionMarks(new Log().append);
    const places = Array.from({ length: MAX_MARKS + 1 }, (_, i) => [2 * i, 2 * i + 1] as const);
    await marks.fence(1, places, 9);
    expect(marks.fenceOf(1, hashIn(1))).toBe(9);
  });
});

describe('what was learnt', () => {
  it('counts from the sync on, and only where all of the range was learnt', async () => {
    const log = new Log();
    log.isHeld = true;
    const marks = new PartitionMarks(log.append);
    const done = marks.learnt(1, [[10, 20]], 5);
    await new Promise((resolve) => setImmediate(resolve));
    expect(marks.learntOf(1, 10, 20)).toBe(0);
    log.release();
    await done;
    expect(marks.learntOf(1, 10, 20)).toBe(5);
    expect(marks.learntOf(1, 10, 21)).toBe(0);
  });

  it('is refused in more places than can be kept', async () => {
    const marks = new PartitionMarks(new Log().append);
    const places = Array.from({ length: MAX_MARKS + 1 }, (_, i) => [2 * i, 2 * i + 1] as const);
    await expect(marks.learnt(1, places, 9)).rejects.toMatchObject({ code: 'too-many-ranges' });
    expect(marks.learntOf(1, 0, 1)).toBe(0);
  });

  it('and fences that no ring needs any more go, the others stay, over a rewrite and a replay', async () => {
    const log = new Log();
    const marks = new PartitionMarks(log.append);
    await marks.fence(1, [[10, 20]], 5);
    await marks.fence(1, [[30, 40]], 8);
    await marks.learnt(1, [[30, 40]], 8);
    await marks.prune(1, (_from, _to, version) => version >= 8);
    log.records.splice(0);
    await marks.rewrite();
    const again = log.replayed();
    const copy = new PartitionMarks(log.append);
    copy.import(marks.export());
    for (const one of [marks, again, copy]) {
      expect(one.fenceOf(1, hashIn(15))).toBe(0);
      expect(one.fenceOf(1, hashIn(35))).toBe(8);
      expect(one.learntOf(1, 30, 40)).toBe(8);
    }
  });
});

describe('records of ring versions', () => {
  it('stay readable: golden bytes', () => {
    const golden = {
      fence: '8209a566656e63650a960a1407ccc8cd012c09',
      learnt: '8209a66c6561726e740a93000108',
    } as const;
    const extras: PartitionExtra[] = [
      { what: 'fence', marks: [10, 20, 7, 200, 300, 9] },
      { what: 'learnt', marks: [0, 1, 8] },
    ];
    for (const extra of extras) {
      const bytes = encodePartitionExtra(extra).toString('hex');
      expect(bytes).toBe(golden[extra.what as keyof typeof golden]);
      expect(decodePartitionExtra(Buffer.from(bytes, 'hex'))).toEqual(extra);
    }
  });

  it('with ranges that can not be are refused', () => {
    const bytes = encodePartitionExtra({ what: 'fence', marks: [10, 2 ** 20 + 1, 7] });
    expect(() => decodePartitionExtra(bytes)).toThrow('versions of ranges');
  });
});
