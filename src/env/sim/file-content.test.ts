import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileContent } from './file-content.ts';
import { Prng } from './prng.ts';

const SECTOR = 512;
const MAX_BYTES = 16 * 1024;

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      at: fc.nat(12_000),
      length: fc.integer({ min: 1, max: 3000 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('truncate' as const), length: fc.nat(MAX_BYTES) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('begin' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('end' as const) }) },
);

const padded = (bytes: Buffer): Buffer =>
  Buffer.concat([bytes, Buffer.alloc(MAX_BYTES - bytes.length)]);

/** Runs steps on the file and on a plain buffer; returns every state since the last finished sync. */
function drive(
  content: FileContent,
  steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[],
) {
  let plain = Buffer.alloc(0);
  let states = [plain];
  const running: { number: number; states: number }[] = [];
  steps.forEach((step, index) => {
    if (step.kind === 'write') {
      const grown = Buffer.alloc(
        step.length === 0 ? plain.length : Math.max(plain.length, step.at + step.length),
      );
      plain.copy(grown);
      grown.fill(index + 1, step.at, step.at + step.length);
      content.write(step.at, Buffer.alloc(step.length, index + 1));
      plain = grown;
    } else if (step.kind === 'truncate') {
      const cut = Buffer.alloc(step.length);
      plain.copy(cut);
      content.truncate(step.length);
      plain = cut;
    } else if (step.kind === 'begin') {
      running.push({ number: content.beginSync(), states: states.length - 1 });
    } else {
      const sync = running.shift();
      if (sync === undefined) return;
      content.endSync(sync.number);
      states = states.slice(sync.states);
      for (const later of running) later.states -= sync.states;
    }
    expect(content.read(0, MAX_BYTES).equals(plain)).toBe(true);
    states.push(plain);
  });
  return states;
}

describe('content of a simulated file', () => {
  it('after a crash, every sector is as it was at some moment since the last sync', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), fc.nat(), (steps, seed) => {
        const content = new FileContent();
        const states = drive(content, steps).map(padded);
        const lengths = drive(new FileContent(), steps).map((state) => state.length);
        content.crash('random', new Prng(seed, 'crash'));
        expect(content.length).toBeGreaterThanOrEqual(Math.min(...lengths));
        expect(content.length).toBeLessThanOrEqual(Math.max(...lengths));
        const after = padded(content.read(0, MAX_BYTES));
        for (let at = 0; at < MAX_BYTES; at += SECTOR) {
          const sector = after.subarray(at, at + SECTOR);
          const known = states.some((state) => matches(state.subarray(at, at + SECTOR), sector));
          expect([at, known]).toEqual([at, true]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('a crash that loses everything goes back to the last sync exactly; one that keeps, to now', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const [lost, kept] = [new FileContent(), new FileContent()];
        const states = drive(lost, steps);
        drive(kept, steps);
        const random = new Prng(1, 'crash');
        lost.crash('lost', random);
        kept.crash('kept', random);
        expect(lost.read(0, MAX_BYTES).equals(states[0]!)).toBe(true);
        expect(kept.read(0, MAX_BYTES).equals(states.at(-1)!)).toBe(true);
        expect(lost.hasUnsynced || kept.hasUnsynced).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});

/** The sector as it was, or cut short by the length (then zeros). */
function matches(state: Buffer, sector: Buffer): boolean {
  let end = sector.length;
  while (end > 0 && sector[end - 1] === 0) end--;
  return state.subarray(0, end).equals(sector.subarray(0, end));
}
