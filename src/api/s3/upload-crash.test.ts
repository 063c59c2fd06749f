/**
 * Uploads whose process dies between any two steps: before each operation of the store, and after it took
 * effect but before its answer came. Afterwards an upload is under way, an object, or nothing; when it is
 * over, and a sweep has been, nothing of it is left.
 */
import { describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import { NodeClock } from '#env/node/clock.ts';
import { NodeRandom } from '#env/node/random.ts';
import type { Operation, Store } from '#proxy/contract.ts';
import { parseUploadName, partsContainer } from '#proxy/multipart/names.ts';
import { Sweeper } from '#proxy/multipart/sweeper.ts';
import { Uploads } from '#proxy/multipart/uploads.ts';
import { MemoryStore } from '../swift/testing/memory-store.ts';
import { memoryState } from './testing/memory-state.ts';

const BUCKET = { account: 'AUTH_p', container: 'bucket' };
const KEY = { ...BUCKET, object: 'key' };
/** Who waits for a dead process waits no real time. */
class QuickClock extends NodeClock {
  #sleptMs = 0;

  override monotonicMs(): number {
    return super.monotonicMs() + this.#sleptMs;
  }

  override async sleep(ms: number): Promise<void> {
    this.#sleptMs += ms;
  }
}

const clock = new QuickClock();
const random = new NodeRandom();
const log = { debug() {}, info() {}, warn() {}, error() {}, with: () => log };
const env = { clock, random, log };

type Death = { readonly at: number; readonly when: 'before' | 'after' } | undefined;

function operation(): Operation {
  return { txn: 't', signal: new AbortController().signal, read: 'quorum' };
}

/** The store as a process sees it that dies at its operation number `at`. */
function dying(store: Store, death: Death): { store: Store; calls: () => number } {
  let calls = 0;
  const dead = () => new OperatingError('unavailable', 'this process is dead');
  const seen = new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      return async (...given: unknown[]) => {
        const number = calls++;
        if (death !== undefined && number > death.at) throw dead();
        if (number === death?.at && death.when === 'before') throw dead();
        const result: unknown = await (value as (...all: unknown[]) => unknown).apply(
          target,
          given,
        );
        if (number === death?.at) throw dead();
        return result;
      };
    },
  });
  return { store: seen, calls: () => calls };
}

class Bench {
  readonly store = new MemoryStore({ nowMicros: () => clock.wallMicros() });

  static async start(): Promise<Bench> {
    const bench = new Bench();
    await bench.store.createContainer(operation(), BUCKET, { changes: {} });
    return bench;
  }

  /** Runs `work` in a process that dies; how many operations it made. */
  async process(work: (uploads: Uploads) => Promise<unknown>, death: Death): Promise<number> {
    const { store, calls } = dying(this.store, death);
    await work(new Uploads(store, env)).catch((error: unknown) => {
      if (death === undefined) throw error;
    });
    return calls();
  }

  async sweep(death?: Death): Promise<number> {
    const { store, calls } = dying(this.store, death);
    const state = {
      ...memoryState(),
      grantLease: async () => 'lease',
      keepAlive: async () => true,
    };
    const sweeper = new Sweeper({ env, store, state, name: 'test' });
    const { signal } = new AbortController();
    try {
      while ((await sweeper.step(signal)).kind === 'more');
    } catch (error) {
      if (death === undefined) throw error;
    }
    return calls();
  }

  /** What is kept for uploads. */
  #names(): string[] {
    const { account, container } = partsContainer(BUCKET);
    const found = this.store.containers.get(`/${account}/${container}`);
    return [...(found?.objects.keys() ?? [])];
  }

  /** Begin, two parts, one of them twice, complete. */
  readonly upload = async (uploads: Uploads): Promise<void> => {
    const begun = await uploads.begin(operation(), BUCKET, {
      ...{ key: KEY.object, contentType: 'a/b', user: {}, system: {}, groups: {} },
      ...{ algorithm: 'crc64nvme', checksumType: 'FULL_OBJECT', asked: false, initiator: '' },
    });
    for (const [number, text] of [
      [1, 'wrong'],
      [1, 'one'],
      [2, 'two'],
    ] as const) {
      const part = { body: once(text), length: text.length, maxLength: text.length };
      const slot = await uploads.slot(operation(), begun, number);
      await uploads.putPart(operation(), begun, slot, part, () => ({}));
    }
    const parts = await uploads.parts(operation(), begun);
    await uploads.complete(operation(), begun, { parts, etag: 'etag-2', checksums: {} });
  };

  /** Whatever a listing of uploads shows. */
  readonly abort = async (uploads: Uploads): Promise<void> => {
    for (const name of this.#names()) {
      const uploadId = parseUploadName(name)?.uploadId;
      if (uploadId === undefined) continue;
      const upload = await uploads.find(operation(), BUCKET, KEY.object, uploadId);
      if (upload !== undefined) await uploads.abort(operation(), upload);
    }
  };

  async delete(): Promise<void> {
    await this.store.deleteObject(operation(), KEY);
  }

  /** First letters of what is kept for uploads. */
  kept(): string {
    const letters = this.#names().map((name) => name[0]);
    return letters.sort().join('');
  }

  async isThere(): Promise<boolean> {
    return (await this.store.statObject(operation(), KEY)) !== undefined;
  }
}

async function* once(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

/** Every moment at which a run of so many operations can end. */
function deaths(operations: number): Exclude<Death, undefined>[] {
  return Array.from({ length: operations }, (_, at) => at).flatMap((at) => [
    { at, when: 'before' as const },
    { at, when: 'after' as const },
  ]);
}

describe('an upload whose process dies', () => {
  it('anywhere on the way leaves an object, an upload that can be aborted, or nothing', async () => {
    const whole = await Bench.start();
    const operations = await whole.process(whole.upload, undefined);
    expect(operations).toBeGreaterThan(10);
    const ends = new Set<string>();
    for (const death of deaths(operations)) {
      const bench = await Bench.start();
      await bench.process(bench.upload, death);
      await bench.sweep();
      await bench.sweep();
      const about = JSON.stringify(death);
      if (await bench.isThere()) {
        // The two parts and what remembers them; the one sent first goes with the object at the latest.
        expect(bench.kept(), about).toMatch(/^cppp?$/);
        ends.add('object');
      } else {
        expect(bench.kept(), about).toMatch(/^c?(p*u)?$/);
        ends.add(bench.kept() === '' ? 'nothing' : 'upload');
        await bench.process(bench.abort, undefined);
      }
      await bench.delete();
      await bench.sweep();
      expect(bench.kept(), about).toBe('');
    }
    expect([...ends].sort()).toEqual(['nothing', 'object', 'upload']);
  });

  it('while it is aborted is gone after the sweep, or can be aborted again', async () => {
    const whole = await Bench.start();
    const begun = await whole.process(whole.upload, undefined);
    // Completing begins with the parts, then come its claim and its record: the upload dies there.
    for (const before of [9, 7, 6, 5]) {
      const death = { at: begun - before, when: 'before' as const };
      const bench = async (): Promise<Bench> => {
        const made = await Bench.start();
        await made.process(made.upload, death);
        expect(made.kept()).toContain('u');
        return made;
      };
      const first = await bench();
      const operations = await first.process(first.abort, undefined);
      // What looks at the claims again and again is the same each time.
      const polls = Math.max(0, operations - 20);
      for (const dies of deaths(operations).filter(({ at }) => at < 6 || at > polls)) {
        const made = await bench();
        await made.process(made.abort, dies);
        await made.process(made.abort, undefined);
        await made.sweep();
        expect(made.kept(), JSON.stringify({ before, dies })).toBe('');
      }
    }
  });

  it('leaves nothing when its object is deleted, wherever the sweep dies', async () => {
    const whole = await Bench.start();
    await whole.process(whole.upload, undefined);
    await whole.delete();
    const operations = await whole.sweep();
    expect(whole.kept()).toBe('');
    for (const death of deaths(operations)) {
      const bench = await Bench.start();
      await bench.process(bench.upload, undefined);
      await bench.delete();
      await bench.sweep(death);
      await bench.sweep();
      expect(bench.kept(), JSON.stringify(death)).toBe('');
    }
  });

  it('keeps every part of an object that is there, wherever the sweep dies', async () => {
    const whole = await Bench.start();
    await whole.process(whole.upload, undefined);
    const operations = await whole.sweep();
    for (const death of deaths(operations)) {
      const bench = await Bench.start();
      await bench.process(bench.upload, undefined);
      await bench.sweep(death);
      await bench.sweep();
      expect(bench.kept(), JSON.stringify(death)).toBe('cpp');
    }
  });
});
