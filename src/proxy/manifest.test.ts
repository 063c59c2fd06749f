import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EntryState } from '#base/entry.ts';
import { type ObjectName, objectPath } from '#base/names.ts';
import { ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { ListQuery } from '#container/calls.ts';
import type { ObjectReader, Operation } from './contract.ts';
import {
  decodeManifest,
  encodeManifest,
  type ManifestPart,
  type ManifestStore,
  openManifest,
} from './manifest.ts';

const OPERATION: Operation = { txn: 'tx', signal: new AbortController().signal, read: 'quorum' };
const NAME = { account: 'a', container: 'c', object: 'big' };

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex');
}

/** A store of objects in memory; a manifest shows the size and etag it was put with. */
class MemoryStore {
  readonly objects = new Map<string, { body: Buffer; state: EntryState }>();
  opened = 0;

  put(path: string, body: Buffer, shown: Partial<EntryState['data']> = {}): ManifestPart {
    const data = {
      timestamp: ZERO_TIMESTAMP,
      kind: 'live' as const,
      writeId: '00',
      clientMicros: 0,
      etag: md5(body),
      size: body.length,
      contentType: '',
      ...shown,
    };
    this.objects.set(path, { body, state: { data, groups: {} } });
    return { path, etag: data.etag, size: data.size };
  }

  putManifest(path: string, parts: readonly ManifestPart[]): ManifestPart {
    const size = parts.reduce(
      (sum, { range, size: whole }) => sum + (range ? range[1] - range[0] : whole),
      0,
    );
    const etag = md5(Buffer.from(parts.map((part) => part.etag).join('')));
    const body = encodeManifest({ kind: 'static', parts });
    return { ...this.put(path, body, { etag, size, manifest: 'static' }), nested: true };
  }

  reader(path: string): ObjectReader | undefined {
    const object = this.objects.get(path);
    if (object === undefined) return undefined;
    const { body, state } = object;
    return {
      state,
      length: body.length,
      degraded: false,
      read: async function* (start, end) {
        for (let at = start; at < end; at += 7) yield body.subarray(at, Math.min(end, at + 7));
      },
    };
  }

  store(): ManifestStore {
    return {
      openObject: async (_operation, name: ObjectName) => {
        this.opened++;
        return this.reader(objectPath(name));
      },
      listObjects: async (_operation, name, query: ListQuery) => {
        const base = `/${name.account}/${name.container}/`;
        const items = [...this.objects]
          .filter(([path]) => path.startsWith(base + (query.prefix ?? '')))
          .map(([path, { state }]) => {
            const { etag, size, contentType, clientMicros } = state.data!;
            return { name: path.slice(base.length), etag, bytes: size, contentType, clientMicros };
          })
          .sort((a, b) => (a.name < b.name ? -1 : 1))
          .filter((item) => item.name > (query.marker ?? ''));
        const page = items.slice(0, 2);
        return { items: page, truncated: page.length < items.length, info: {} as never };
      },
    };
  }
}

async function read(
  memory: MemoryStore,
  path: string,
  start?: number,
  end?: number,
): Promise<Buffer> {
  const manifest = await openManifest(memory.store(), OPERATION, NAME, memory.reader(path)!);
  const chunks: Buffer[] = [];
  for await (const chunk of manifest.read(start ?? 0, end ?? manifest.length)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error) => error,
  );
}

describe('a manifest', () => {
  it('gives any range of its parts, with ranges of their own, byte for byte', async () => {
    const part = fc.record({
      body: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      cut: fc.tuple(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
      ),
      ranged: fc.boolean(),
    });
    const bounds = fc.tuple(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 8 }), bounds, async (parts, [x, y]) => {
        const memory = new MemoryStore();
        const listed: ManifestPart[] = [];
        const expected: Buffer[] = [];
        for (const [i, { body, cut, ranged }] of parts.entries()) {
          const [start, end] = [...cut]
            .sort((a, b) => a - b)
            .map((at) => Math.floor(at * body.length));
          const whole = memory.put(`/a/s/${i}`, body);
          listed.push(ranged ? { ...whole, range: [start!, end!] } : whole);
          expected.push(ranged ? body.subarray(start, end) : body);
        }
        memory.putManifest('/a/c/big', listed);
        const all = Buffer.concat(expected);
        expect(await read(memory, '/a/c/big')).toEqual(all);
        const [from, to] = [x, y].sort((a, b) => a - b).map((at) => Math.floor(at * all.length));
        expect(await read(memory, '/a/c/big', from, to)).toEqual(all.subarray(from, to));
      }),
    );
  });

  it('may hold bytes of its own between its parts', async () => {
    const memory = new MemoryStore();
    const own = (text: string): ManifestPart => ({
      path: '',
      data: Buffer.from(text).toString('base64'),
      etag: md5(Buffer.from(text)),
      size: text.length,
    });
    const part = memory.put('/a/s/1', Buffer.from('stored'));
    const inner = memory.putManifest('/a/c/inner', [own('<'), part, own('>')]);
    memory.putManifest('/a/c/big', [own('head '), inner, part, own(' tail')]);
    const whole = 'head <stored>stored tail';
    expect((await read(memory, '/a/c/big')).toString()).toBe(whole);
    for (let start = 0; start < whole.length; start++) {
      const end = Math.min(whole.length, start + 7);
      expect((await read(memory, '/a/c/big', start, end)).toString()).toBe(whole.slice(start, end));
    }
  });

  it('may hold manifests, to a depth of ten', async () => {
    const memory = new MemoryStore();
    let part = memory.put('/a/s/leaf', Buffer.from('the bytes at the bottom'));
    for (let depth = 1; depth <= 10; depth++) part = memory.putManifest(`/a/c/${depth}`, [part]);
    expect((await read(memory, '/a/c/10')).toString()).toBe('the bytes at the bottom');
    memory.putManifest('/a/c/11', [part]);
    expect(await failure(read(memory, '/a/c/11'))).toMatchObject({
      code: 'manifest-part',
      facts: { reason: 'too-deep' },
    });
  });

  it('breaks off at a part that changed or is gone', async () => {
    const memory = new MemoryStore();
    const parts = ['one', 'two'].map((text) => memory.put(`/a/s/${text}`, Buffer.from(text)));
    memory.putManifest('/a/c/big', parts);
    memory.put('/a/s/two', Buffer.from('TWO'));
    const reason = (error: unknown) => (error as { facts: { reason: string } }).facts.reason;
    expect(reason(await failure(read(memory, '/a/c/big')))).toBe('changed');
    memory.objects.delete('/a/s/two');
    expect(reason(await failure(read(memory, '/a/c/big')))).toBe('missing');
    expect((await read(memory, '/a/c/big', 0, 3)).toString()).toBe('one');
  });

  it('asks whether each part may be read', async () => {
    const memory = new MemoryStore();
    memory.putManifest('/a/c/big', [memory.put('/a/secret/1', Buffer.from('x'))]);
    const mayRead = async (name: ObjectName): Promise<boolean> => name.container !== 'secret';
    const manifest = await openManifest(
      memory.store(),
      OPERATION,
      NAME,
      memory.reader('/a/c/big')!,
      { mayRead },
    );
    const first = manifest.read(0, 1)[Symbol.asyncIterator]().next();
    expect(await failure(first)).toMatchObject({ facts: { reason: 'forbidden' } });
  });

  it('opens the next part while one is sent, and not more', async () => {
    const memory = new MemoryStore();
    const parts = [1, 2, 3, 4].map((i) => memory.put(`/a/s/${i}`, Buffer.alloc(100, i)));
    memory.putManifest('/a/c/big', parts);
    const manifest = await openManifest(
      memory.store(),
      OPERATION,
      NAME,
      memory.reader('/a/c/big')!,
    );
    const chunks = manifest.read(0, manifest.length)[Symbol.asyncIterator]();
    await chunks.next();
    expect(memory.opened).toBe(2);
    await chunks.return?.();
  });

  it('that is dynamic stands for what its prefix lists, page by page', async () => {
    const memory = new MemoryStore();
    for (const i of [3, 1, 2, 5, 4]) memory.put(`/a/segments/big/${i}`, Buffer.from(`part ${i};`));
    memory.put('/a/segments/other', Buffer.from('not this'));
    memory.put('/a/c/big', Buffer.alloc(0));
    const { state } = memory.objects.get('/a/c/big')!;
    const values = { 'x-object-manifest': 'segments/big%2F' };
    memory.objects.set('/a/c/big', {
      body: Buffer.alloc(0),
      state: { ...state, groups: { system: { timestamp: ZERO_TIMESTAMP, values } } },
    });
    expect((await read(memory, '/a/c/big')).toString()).toBe('part 1;part 2;part 3;part 4;part 5;');
  });
});

describe('the form of a manifest', () => {
  it('takes a newer version only for bytes of its own, so that older programs read the rest', () => {
    const part = { path: '/a/c/o', etag: 'e', size: 10 };
    const own = { path: '', data: 'aGVsbG8=', etag: 'e', size: 5 };
    const version = (parts: readonly ManifestPart[]) =>
      (JSON.parse(String(encodeManifest({ kind: 'static', parts }))) as Record<string, unknown>)[
        'anello-manifest'
      ];
    expect(version([part])).toBe(1);
    expect(version([part, own])).toBe(2);
    const both = { kind: 'static' as const, parts: [part, own] };
    expect(decodeManifest(encodeManifest(both))).toEqual(both);
    const old =
      '{"anello-manifest":1,"kind":"static","parts":[{"path":"/a/c/o","etag":"e","size":10}]}';
    expect(String(encodeManifest({ kind: 'static', parts: [part] }))).toBe(old);
    const bytes =
      '{"anello-manifest":2,"kind":"static","parts":[{"path":"/a/c/o","etag":"e","size":10},' +
      '{"data":"aGVsbG8=","etag":"e","size":5}]}';
    expect(String(encodeManifest(both))).toBe(bytes);
    const form = (entry: unknown, version: number) =>
      Buffer.from(JSON.stringify({ 'anello-manifest': version, kind: 'static', parts: [entry] }));
    expect(() => decodeManifest(form(own, 1))).toThrow(/malformed/);
    expect(() => decodeManifest(form({ ...own, size: 6 }, 2))).toThrow(/malformed/);
    expect(() => decodeManifest(form({ ...own, data: 5 }, 2))).toThrow(/malformed/);
  });

  it('refuses what is not one', () => {
    const part = { path: '/a/c/o', etag: 'e', size: 10 };
    const form = (parts: unknown, version: unknown = 1, kind: unknown = 'static'): Buffer =>
      Buffer.from(JSON.stringify({ 'anello-manifest': version, kind, parts }));
    expect(decodeManifest(form([part])).parts).toEqual([part]);
    const bad = [
      Buffer.from('not json'),
      Buffer.from('[]'),
      form([part], 'one'),
      form([part], 1, 'dynamic'),
      form('parts'),
      form([{ ...part, path: 'a/c/o' }]),
      form([{ ...part, size: -1 }]),
      form([{ ...part, size: 1.5 }]),
      form([{ ...part, range: [3, 11] }]),
      form([{ ...part, range: [5, 3] }]),
      form([null]),
    ];
    for (const bytes of bad) expect(() => decodeManifest(bytes)).toThrow(/manifest/);
    expect(() => decodeManifest(form([part], 3))).toThrow(/newer/);
  });
});
