import { describe, expect, it } from 'vitest';
import { type Action, type Call, isUntold, judge, type Result } from './rounds-history.ts';
import { runRoundsSeed } from './rounds-run.ts';

const SEEDS = 6;
const READ: Action = { kind: 'read' };

/** Calls one after another unless their times say otherwise. */
function call(action: Action, result: Result | undefined, called: number, answered?: number): Call {
  return { action, via: 'n', called, answered, result };
}

function put(value: number, guard: 'always' | 'absent' = 'always'): Action {
  return { kind: 'put', value, guard: { kind: guard } };
}

function saw(value: number | undefined): Result {
  return { kind: 'read', version: value === undefined ? undefined : { value, tag: value } };
}

const DONE: Result = { kind: 'done' };
const MAYBE: Result = { kind: 'maybe' };

describe('the checker of histories', () => {
  it('accepts what one object could have done', () => {
    expect(judge([])).toBe('linearizable');
    const calls = [
      call(put(1, 'absent'), DONE, 0, 1),
      call(put(2, 'absent'), { kind: 'refused' }, 2, 3),
      call({ kind: 'delete', guard: { kind: 'match', value: 1 } }, DONE, 4, 7),
      // While the deletion is under way, either may be seen.
      call(READ, saw(1), 5, 6),
      call(READ, saw(undefined), 8, 9),
    ];
    expect(judge(calls)).toBe('linearizable');
  });

  it.each([
    ['two winners', [call(put(1, 'absent'), DONE, 0, 2), call(put(2, 'absent'), DONE, 1, 3)]],
    [
      'an update that was lost',
      [
        call(put(1), DONE, 0, 1),
        call({ kind: 'put', value: 2, guard: { kind: 'match', value: 1 } }, DONE, 2, 4),
        call({ kind: 'put', value: 3, guard: { kind: 'match', value: 1 } }, DONE, 3, 5),
      ],
    ],
    [
      'a read that goes back',
      [
        call(put(1), DONE, 0, 1),
        call(put(2), MAYBE, 2, 3),
        call(READ, saw(2), 4, 5),
        call(READ, saw(1), 6, 7),
      ],
    ],
    [
      'a refusal for something that no read finds',
      [call(put(1, 'absent'), { kind: 'refused' }, 0, 1), call(READ, saw(undefined), 2, 3)],
    ],
    [
      'an undecided write that takes effect twice',
      [
        call(put(1), MAYBE, 0, 1),
        call(READ, saw(1), 2, 3),
        call(put(2), DONE, 4, 5),
        call(READ, saw(1), 6, 7),
      ],
    ],
    [
      'metadata that came back',
      [
        call(put(1), DONE, 0, 1),
        call({ kind: 'post', value: 5, guard: { kind: 'always' } }, DONE, 2, 3),
        call(READ, saw(1), 4, 5),
      ],
    ],
  ])('refuses %s', (_what, calls) => {
    expect(judge(calls)).toBe('violated');
  });

  it('lets an unanswered write take effect once, late or never', () => {
    const maybe = call(put(1), undefined, 0);
    const nothing = call(READ, saw(undefined), 1, 2);
    expect(judge([maybe, nothing])).toBe('linearizable');
    expect(judge([maybe, nothing, call(READ, saw(1), 3, 4)])).toBe('linearizable');
  });
});

describe('a write that nobody was told of', () => {
  const lost = call(put(2), MAYBE, 4, 5);
  const before = [
    call(put(1), DONE, 0, 1),
    call({ kind: 'delete', guard: { kind: 'always' } }, DONE, 2, 3),
  ];
  const isLost = (...after: readonly Call[]) => isUntold([...before, lost, ...after], lost);

  it('is one without which all could have been as it was', () => {
    expect(isLost()).toBe(true);
    expect(isLost(call(READ, saw(undefined), 6, 7), call(READ, MAYBE, 8, 9))).toBe(true);
    expect(isLost(call(put(3, 'absent'), DONE, 6, 7))).toBe(true);
  });

  it.each([
    ['its version was read', call(READ, saw(2), 6, 7)],
    ['a condition was refused because of it', call(put(3, 'absent'), { kind: 'refused' }, 6, 7)],
    [
      'metadata were acknowledged over it',
      call({ kind: 'post', value: 3, guard: { kind: 'always' } }, DONE, 6, 7),
    ],
  ])('is not one where %s', (_what, after) => {
    expect(isLost(after)).toBe(false);
  });

  it('was not acknowledged', () => {
    const [first] = before;
    expect(isUntold(before, first!)).toBe(false);
  });
});

describe('conditional writes', () => {
  it.each(Array.from({ length: SEEDS }, (_, i) => 1 + i))(
    'are linearizable in seed %i',
    { timeout: 120_000 },
    async (seed) => {
      const { failure } = await runRoundsSeed(seed);
      if (failure === undefined) return;
      const replay = `npm run sim -- --rounds --first-seed ${seed} --seeds 1 --verbose`;
      throw new Error(`${failure.message}\n${replay}\n${failure.report.slice(0, 5_000)}`);
    },
  );
});
