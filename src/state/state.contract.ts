/** What every State driver must do. Each driver's test runs this suite on its own stores. */
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import {
  MAX_TXN_ITEMS,
  MAX_VALUE_BYTES,
  type State,
  type Watch,
  type WatchEvent,
} from './state.ts';

/** One store reached by several clients, as several processes reach it. */
export interface StoreUnderTest {
  open(): Promise<State>;
  close(): Promise<void>;
  /** Where time is virtual: lets it pass until the test is done. */
  run?(test: Promise<void>): Promise<void>;
}

const bytes = (text: string): Buffer => Buffer.from(text);

export function describeState(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`state contract: ${name}`, () => {
    let store: StoreUnderTest;
    let state: State;

    const test = (title: string, body: () => Promise<void>): void => {
      it(title, async () => {
        store = await create();
        const whole = async (): Promise<void> => {
          state = await store.open();
          await body();
          await state.close();
        };
        await (store.run?.(whole()) ?? whole());
        await store.close();
      });
    };

    const put = (key: string, value: string) =>
      state.txn({ success: [{ kind: 'put', key, value: bytes(value) }] });

    test('returns what was put, with its revisions', async () => {
      expect(await state.get('a')).toBeUndefined();
      const first = await put('a', '1');
      const second = await put('a', '2');
      expect(second.revision).toBe(first.revision + 1);
      expect(await state.get('a')).toEqual({
        key: 'a',
        value: bytes('2'),
        createRevision: first.revision,
        modRevision: second.revision,
        version: 2,
      });
    });

    test('keeps bytes as they are, also none and all 256', async () => {
      const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      await state.txn({
        success: [
          { kind: 'put', key: 'all', value: all },
          { kind: 'put', key: 'none', value: Buffer.alloc(0) },
        ],
      });
      expect((await state.get('all'))?.value).toEqual(all);
      expect((await state.get('none'))?.value).toEqual(Buffer.alloc(0));
    });

    test('ranges in the order of UTF-8 bytes, with prefix, limit and reverse', async () => {
      const keys = ['p/b', 'p/a', 'p/\u{1f600}', 'p/\u{ffff}', 'p0', 'o', 'p/'];
      for (const key of keys) await put(key, key);
      const sorted = keys
        .filter((key) => key.startsWith('p/'))
        .sort((x, y) => Buffer.compare(bytes(x), bytes(y)));
      const all = await state.range({ prefix: 'p/' });
      expect(all.items.map(({ key }) => key)).toEqual(sorted);
      expect(all.more).toBe(false);
      const two = await state.range({ prefix: 'p/' }, { limit: 2 });
      expect(two.items.map(({ key }) => key)).toEqual(sorted.slice(0, 2));
      expect(two.more).toBe(true);
      const last = await state.range({ prefix: 'p/' }, { limit: 1, reverse: true });
      expect(last.items.map(({ key }) => key)).toEqual(sorted.slice(-1));
      const between = await state.range({ start: 'p/a', end: 'p/b' });
      expect(between.items.map(({ key }) => key)).toEqual(['p/a']);
      expect((await state.range({ prefix: '' })).items).toHaveLength(keys.length);
    });

    test('does the branch that the comparisons choose, whole or not at all', async () => {
      const { revision } = await put('a', '1');
      const win = await state.txn({
        compare: [
          { key: 'a', modRevision: revision },
          { key: 'a', value: bytes('1') },
          { key: 'a', createRevision: revision },
          { key: 'b', exists: false },
        ],
        success: [
          { kind: 'put', key: 'a', value: bytes('2') },
          { kind: 'put', key: 'b', value: bytes('2') },
        ],
      });
      expect(win.succeeded).toBe(true);
      const lose = await state.txn({
        compare: [
          { key: 'b', exists: true },
          { key: 'a', modRevision: revision },
        ],
        success: [{ kind: 'delete', key: 'b' }],
        failure: [{ kind: 'range', range: { prefix: 'a' } }],
      });
      expect(lose.succeeded).toBe(false);
      expect(lose.revision).toBe(win.revision);
      expect(lose.results).toMatchObject([
        { kind: 'range', more: false, items: [{ key: 'a', value: bytes('2'), version: 2 }] },
      ]);
      expect(await state.get('b')).toBeDefined();
    });

    test('reports what a deletion removed, and starts a deleted key anew', async () => {
      await put('d/1', 'x');
      await put('d/2', 'x');
      await put('d/3', 'x');
      const result = await state.txn({
        success: [
          { kind: 'delete', key: 'd/1' },
          { kind: 'delete', key: 'missing' },
          { kind: 'deleteRange', range: { start: 'd/2', end: 'e' } },
        ],
      });
      expect(result.results).toEqual([
        { kind: 'delete', deleted: 1 },
        { kind: 'delete', deleted: 0 },
        { kind: 'delete', deleted: 2 },
      ]);
      const again = await put('d/1', 'y');
      expect(await state.get('d/1')).toMatchObject({ createRevision: again.revision, version: 1 });
    });

    test('leaves the revision alone when nothing changes', async () => {
      const { revision } = await put('a', '1');
      const result = await state.txn({ success: [{ kind: 'delete', key: 'missing' }] });
      expect(result.revision).toBe(revision);
    });

    test('lets exactly one of many concurrent compare-and-swaps win', async () => {
      const other = await store.open();
      const attempts = Array.from({ length: 20 }, (_, i) =>
        (i % 2 === 0 ? state : other).txn({
          compare: [{ key: 'lock', exists: false }],
          success: [{ kind: 'put', key: 'lock', value: bytes(String(i)) }],
        }),
      );
      const results = await Promise.all(attempts);
      expect(results.filter(({ succeeded }) => succeeded)).toHaveLength(1);
      expect((await other.get('lock'))?.version).toBe(1);
      await other.close();
    });

    test('counts exactly with optimistic retries from two clients', async () => {
      const other = await store.open();
      const increment = async (client: State): Promise<void> => {
        for (;;) {
          const old = await client.get('n');
          const value = bytes(String(Number(old?.value.toString() ?? 0) + 1));
          const { succeeded } = await client.txn({
            compare: [{ key: 'n', modRevision: old?.modRevision ?? 0 }],
            success: [{ kind: 'put', key: 'n', value }],
          });
          if (succeeded) return;
        }
      };
      const loop = async (client: State): Promise<void> => {
        for (let i = 0; i < 10; i++) await increment(client);
      };
      await Promise.all([loop(state), loop(other)]);
      expect((await state.get('n'))?.value.toString()).toBe('20');
      await other.close();
    });

    test('refuses what is too large or contradictory, and changes nothing', async () => {
      const operation = (i: number) => ({ kind: 'put', key: `k${i}`, value: bytes('') }) as const;
      const bad = [
        { success: [{ kind: 'put', key: '', value: bytes('') }] },
        { success: [{ kind: 'put', key: 'k'.repeat(1025), value: bytes('') }] },
        { success: [{ kind: 'put', key: 'k', value: Buffer.alloc(MAX_VALUE_BYTES + 1) }] },
        { success: [operation(1), operation(1)] },
        { success: [operation(1), { kind: 'delete', key: 'k1' }] },
        { success: [operation(1), { kind: 'deleteRange', range: { prefix: 'k' } }] },
        { success: Array.from({ length: MAX_TXN_ITEMS + 1 }, (_, i) => operation(i)) },
      ] as const;
      for (const transaction of bad) {
        await expect(state.txn(transaction)).rejects.toMatchObject({ code: 'state-limit' });
      }
      await expect(state.range({ prefix: '' }, { limit: 0 })).rejects.toSatisfy(
        (error) => codeOf(error) === 'state-limit',
      );
      expect((await state.range({ prefix: '' })).items).toEqual([]);
    });

    test('takes a key, a value and a transaction at their limits', async () => {
      const key = 'k'.repeat(1024);
      await state.txn({ success: [{ kind: 'put', key, value: Buffer.alloc(MAX_VALUE_BYTES, 7) }] });
      expect((await state.get(key))?.value).toHaveLength(MAX_VALUE_BYTES);
      const { succeeded } = await state.txn({
        success: Array.from({ length: MAX_TXN_ITEMS }, (_, i) => ({
          kind: 'put' as const,
          key: `m${i}`,
          value: bytes(''),
        })),
      });
      expect(succeeded).toBe(true);
    });

    test('watches its range from a past revision on, by transaction, whoever writes', async () => {
      const first = await put('w/a', '1');
      const other = await store.open();
      const seen = collect(state, 'w/', first.revision);
      await other.txn({
        success: [
          { kind: 'put', key: 'w/b', value: bytes('2') },
          { kind: 'put', key: 'unrelated', value: bytes('2') },
          { kind: 'delete', key: 'w/a' },
        ],
      });
      const last = await put('w/b', '3');
      await seen.until(last.revision);
      expect(seen.events.map(brief)).toEqual([
        `put w/a=1 @${first.revision}`,
        ...[`put w/b=2 @${first.revision + 1}`, `delete w/a @${first.revision + 1}`],
        `put w/b=3 @${last.revision}`,
      ]);
      seen.watch.close();
      await other.close();
    });

    test('shows a watcher every change once and in order, while two clients write', async () => {
      const other = await store.open();
      const { revision } = await put('w/start', '');
      const seen = collect(state, 'w/', revision + 1);
      const write = async (client: State, tag: string): Promise<number> => {
        let last = 0;
        for (let i = 0; i < 30; i++) {
          const value = bytes(String(i));
          const done = await client.txn({ success: [{ kind: 'put', key: `w/${tag}`, value }] });
          last = done.revision;
        }
        return last;
      };
      const ends = await Promise.all([write(state, 'x'), write(other, 'y')]);
      await seen.until(Math.max(...ends));
      const revisions = seen.events.map((event) => revisionOf(event));
      expect(revisions).toEqual(Array.from({ length: 60 }, (_, i) => revision + 1 + i));
      seen.watch.close();
      await other.close();
    });

    test('says nothing more after a watch was closed', async () => {
      const first = await put('w/1', '');
      const seen = collect(state, 'w/', first.revision);
      await seen.until(first.revision);
      seen.watch.close();
      const witness = collect(state, 'w/', first.revision + 1);
      const second = await put('w/2', '');
      await witness.until(second.revision);
      expect(seen.events).toHaveLength(1);
      witness.watch.close();
    });

    test('says compacted to a watch whose history is gone, and never skips', async () => {
      const first = await put('w/1', '');
      await put('w/2', '');
      const third = await put('w/3', '');
      await state.compact(third.revision);
      const seen = collect(state, 'w/', first.revision);
      expect(await seen.compacted).toBeGreaterThan(first.revision);
      expect(seen.events).toEqual([]);
      const snapshot = await state.range({ prefix: 'w/' });
      expect(snapshot.items).toHaveLength(3);
      const fresh = collect(state, 'w/', snapshot.revision + 1);
      const fourth = await put('w/4', '');
      await fresh.until(fourth.revision);
      expect(fresh.events.map(brief)).toEqual([`put w/4= @${fourth.revision}`]);
      fresh.watch.close();
    });

    test('removes the keys of a lease that is revoked, and tells the watchers', async () => {
      const lease = await state.grantLease(60);
      expect(await state.keepAlive(lease)).toBe(true);
      await state.txn({ success: [{ kind: 'put', key: 'l/1', value: bytes('1'), lease }] });
      expect((await state.get('l/1'))?.lease).toBe(lease);
      const from = await put('l/2', '2');
      const seen = collect(state, 'l/', from.revision + 1);
      await state.revokeLease(lease);
      await seen.until(from.revision + 1);
      expect(seen.events.map(brief)).toEqual([`delete l/1 @${from.revision + 1}`]);
      expect(await state.keepAlive(lease)).toBe(false);
      const late = state.txn({ success: [{ kind: 'put', key: 'l/3', value: bytes(''), lease }] });
      await expect(late).rejects.toMatchObject({ code: 'no-lease' });
      seen.watch.close();
    });

    test('frees a key from its lease when it is put without one', async () => {
      const lease = await state.grantLease(60);
      await state.txn({ success: [{ kind: 'put', key: 'l', value: bytes('1'), lease }] });
      await put('l', '2');
      await state.revokeLease(lease);
      expect(await state.get('l')).toBeDefined();
    });

    test('expires a lease that nobody keeps alive', async () => {
      const lease = await state.grantLease(1);
      const { revision } = await state.txn({
        success: [{ kind: 'put', key: 'l', value: bytes('1'), lease }],
      });
      const seen = collect(state, 'l', revision + 1);
      await seen.until(revision + 1);
      expect(await state.get('l')).toBeUndefined();
      expect(await state.keepAlive(lease)).toBe(false);
      seen.watch.close();
    });
  });
}

function collect(state: State, prefix: string, from: number) {
  const events: WatchEvent[] = [];
  let reached = 0;
  let wake = (): void => {};
  let tellCompacted: (oldest: number) => void;
  const compacted = new Promise<number>((resolve) => {
    tellCompacted = resolve;
  });
  const watch: Watch = state.watch({ prefix }, from, {
    onEvents(batch, revision) {
      events.push(...batch);
      reached = revision;
      wake();
    },
    onCompacted: (oldest) => tellCompacted(oldest),
  });
  const until = async (revision: number): Promise<void> => {
    while (reached < revision) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { events, watch, compacted, until };
}

function revisionOf(event: WatchEvent): number {
  return event.kind === 'put' ? event.item.modRevision : event.modRevision;
}

function brief(event: WatchEvent): string {
  const { kind } = event;
  if (kind === 'delete') return `delete ${event.key} @${event.modRevision}`;
  return `put ${event.item.key}=${event.item.value} @${event.item.modRevision}`;
}
