/** Sums that are kept are what a look at the table gives, whatever was asked and changed before. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimWorld } from '#env/sim/world.ts';
import { type ContainerLine, ContainerTable, emptyLine } from './container-table.ts';
import { addTerm, sumToBytes, zeroSum } from './digest.ts';
import { SCHEMA } from './schema.ts';
import { BUCKET_BITS, bucketOf, Summaries } from './summary.ts';

const RING = 0xfffe;
const BUCKETS = 2 ** BUCKET_BITS;

function openTable(): { table: ContainerTable; lines: ContainerLine[] } {
  const { env } = new SimWorld({ seed: 1 }).machine('n1');
  const db = env.disk.openDatabase('/rows.db');
  db.exec(SCHEMA);
  return { table: new ContainerTable(db), lines: [] };
}

/** Hashes from a small generator; the crowded ones all lie in one bucket. */
function addLines(
  { table, lines }: ReturnType<typeof openTable>,
  count: number,
  crowded: boolean,
): void {
  for (let i = 0; i < count; i++) {
    const hash = Buffer.alloc(16);
    hash.writeUInt32BE(crowded ? 0x12345678 : Math.imul(i + 1, 0x9e3779b1) >>> 0);
    hash.writeUInt32BE(lines.length, 4);
    const line = emptyLine(RING, hash, `/a/c${lines.length}`);
    line.rows = i % 3;
    line.total = 1 + (i % 3);
    addTerm(line.digest, hash);
    table.save(line);
    lines.push(line);
  }
}

function expected(lines: readonly ContainerLine[], from: number, to: number) {
  const sum = zeroSum();
  let [live, total] = [0, 0];
  for (const line of lines) {
    const bucket = bucketOf(line.hash);
    if (bucket < from || bucket >= to) continue;
    addTerm(sum, sumToBytes(line.digest));
    live += line.rows;
    total += line.total;
  }
  return { sum: sumToBytes(sum), live, total };
}

/** Aligned ones of every width, and any. */
const ranges = fc.oneof(
  fc.tuple(fc.integer({ min: 0, max: BUCKET_BITS }), fc.nat(BUCKETS - 1)).map(([bits, at]) => {
    const width = 2 ** bits;
    const from = at - (at % width);
    return [from, from + width] as const;
  }),
  fc
    .tuple(fc.nat(BUCKETS - 1), fc.nat(BUCKETS - 1))
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b) + 1] as const),
);

describe('summaries of containers', () => {
  it.each([
    ['few', 7, 0],
    ['more than a page', 2_300, 0],
    ['more than a page in one bucket', 40, 2_100],
  ])('are what the table says: %s', (_name, spread, crowded) => {
    const opened = openTable();
    addLines(opened, spread, false);
    addLines(opened, crowded, true);
    const { table, lines } = opened;
    fc.assert(
      fc.property(fc.array(fc.tuple(ranges, fc.nat()), { maxLength: 12 }), (asked) => {
        const summaries = new Summaries(table);
        for (const [[from, to], which] of asked) {
          expect(summaries.summarise(RING, from, to, 1)).toEqual([expected(lines, from, to)]);
          const line = lines[which % lines.length]!;
          const before = { ...line, digest: line.digest.slice() };
          line.total++;
          addTerm(line.digest, line.hash);
          table.save(line);
          summaries.changed(before, line);
        }
        expect(summaries.summarise(RING, 0, BUCKETS, 1)).toEqual([expected(lines, 0, BUCKETS)]);
      }),
      { numRuns: 8 },
    );
  });

  it('a new line is in the sums of what was empty', () => {
    const opened = openTable();
    const summaries = new Summaries(opened.table);
    expect(summaries.summarise(RING, 0, BUCKETS, 1)[0]!.total).toBe(0);
    addLines(opened, 1, false);
    const [line] = opened.lines;
    summaries.changed(emptyLine(RING, line!.hash, line!.path), line!);
    expect(summaries.summarise(RING, 0, BUCKETS, 1)).toEqual([expected(opened.lines, 0, BUCKETS)]);
    const bucket = bucketOf(line!.hash);
    const group = bucket - (bucket % 256);
    expect(summaries.summarise(RING, group, group + 256, 1)[0]!.total).toBe(1);
  });
});
